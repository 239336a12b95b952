"""The command line: every command is one call into the rooms below."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)
