"""One function per kind of result, each from results to a matplotlib figure; `catalogue` is the table of them."""
