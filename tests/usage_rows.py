"""A usage row with something in every column."""

from antiphon.ports.ledger import UsageRow

ROW = UsageRow(
    id="req_1",
    time=1_790_000_000.25,
    key="alice",
    project="search",
    owner="alice",
    alias="fast",
    provider="openai",
    model="gpt-5",
    dialect="responses",
    route="/responses",
    stream=True,
    status=200,
    cache="miss",
    input_tokens=100,
    output_tokens=20,
    total_tokens=120,
    cached_tokens=30,
    cache_write_tokens=4,
    reasoning_tokens=5,
    audio_input_tokens=6,
    audio_output_tokens=7,
    cost=0.25,
    cost_saved=None,
    first_byte_us=1_500,
    last_byte_us=2_000_000,
    error=None,
    answer_id="resp_upstream",
)
