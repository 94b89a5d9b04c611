"""Shell completion."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class


def complete_suite(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of built-in suites and of TOML files."""
    from ..planning.suite import builtin_suites

    names = [CompletionItem(name, help=text) for name, text in builtin_suites().items() if name.startswith(incomplete)]
    files = [CompletionItem(str(file)) for file in Path().glob(f"{incomplete}*.toml")]
    return [*names, *files]


@click.command(
    epilog="""\b
Examples:
  eval "$(trilemma completion bash)"             in ~/.bashrc
  eval "$(trilemma completion zsh)"              in ~/.zshrc
  trilemma completion fish > ~/.config/fish/completions/trilemma.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    cls = get_completion_class(shell)
    assert cls is not None
    click.echo(cls(ctx.find_root().command, {}, "trilemma", "_TRILEMMA_COMPLETE").source())
