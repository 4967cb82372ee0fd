"""The command line: what it understands, and how it says what is wrong."""

import pytest
from click.testing import CliRunner

from antiphon import __version__
from antiphon.cli import cli
from antiphon.settings.environment import PROVIDERS

WRONG = {
    "broken YAML": ("server: {port: 80", ["antiphon.yaml"]),
    "an unknown key": ("server:\n  prt: 80\n", ["antiphon.yaml:2", "'prt'", "'port'"]),
    "an unknown section": ("servers: {}\n", ["antiphon.yaml:1", "'servers'", "'server'"]),
    "an unset variable": ('admin: {key: "${NOT_SET_HERE}"}\n', ["antiphon.yaml:1", "NOT_SET_HERE"]),
    "a wrong type": ("server: {port: many}\n", ["antiphon.yaml:1", "server.port"]),
    "every address without keys": ("server: {host: 0.0.0.0}\n", ["antiphon.yaml:1", "server.host", "keys"]),
    "storage elsewhere": ('storage: {url: "mysql://x"}\n', ["antiphon.yaml:1", "storage.url"]),
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command line in a folder of its own, with nothing of the environment that matters."""
    monkeypatch.chdir(tmp_path)
    for variables in PROVIDERS:
        monkeypatch.delenv(variables.key, raising=False)
        monkeypatch.delenv(variables.base_url, raising=False)
    return lambda *arguments: CliRunner().invoke(cli, arguments, prog_name="antiphon")


def test_it_says_its_version_and_what_it_can_do(run):
    """Every command is named, with what it does."""
    assert run("--version").stdout == f"antiphon, version {__version__}\n"
    assert {"serve", "demo"} <= {line.split()[0] for line in run("-h").stdout.splitlines() if line.strip()}
    assert "--workers" in run("serve", "--help").stdout


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_an_unusable_configuration_is_one_line(run, tmp_path, text, said):
    """Where it is wrong and what, on standard error; exit code 2, and no traceback."""
    (tmp_path / "antiphon.yaml").write_text(text)
    result = run("serve")
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("antiphon: ")
    for each in said:
        assert each in line


def test_a_secret_is_not_in_the_error(run, tmp_path):
    """Not even where the configuration is wrong."""
    (tmp_path / "antiphon.yaml").write_text(
        "providers:\n  openai: {type: openai, api_key: 'sk-not for everybody'}\n"
    )
    result = run("serve")
    assert (result.exit_code, "sk-not" in result.stderr) == (2, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--host", "0.0.0.0"], "server.host"),
        (["--port", "65536"], "--port"),
        (["--workers", "0"], "--workers"),
        (["--prot", "80"], "--port"),
        (["more"], "more"),
    ],
)
def test_a_usage_error_is_exit_code_2(run, arguments, said):
    """It names what is wrong, and the nearest that would be right."""
    result = run("serve", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_command_is_exit_code_2(run):
    """Nothing is guessed."""
    result = run("sreve")
    assert (result.exit_code, "sreve" in result.stderr) == (2, True)
