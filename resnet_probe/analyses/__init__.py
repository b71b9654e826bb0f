"""One module per question: `run(...)` makes the table, `plot(result)` draws it from the table alone."""
