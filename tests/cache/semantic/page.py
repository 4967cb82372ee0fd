"""The tables of docs/semantic-cache.md: `python -m cache.semantic.page`, in the folder `tests`, writes them."""

import re
from pathlib import Path

from cache.semantic.pairs import by_kind, by_threshold, read_pairs

PAGE = Path(__file__).resolve().parents[3] / "docs" / "semantic-cache.md"


def page_with_tables(page: str) -> str:
    """Return the page with the tables as they are now."""
    seen, unseen = read_pairs("pairs"), read_pairs("pairs_unseen")
    tables = {
        "pairs": by_threshold(seen),
        "pairs_unseen": by_threshold(unseen),
        "kinds": by_kind(seen + unseen, 0.9),
    }
    for name, table in tables.items():
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>{table}\n\g<2>", page, count=1, flags=re.DOTALL
        )
    return page


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text()))
