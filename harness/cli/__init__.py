"""The command line: thin click commands, each of which calls one function of the core."""

from __future__ import annotations

import click

from trilemma import __version__

from .group import PluginGroup

EPILOG = """\b
Examples:
  trilemma run                       the suite `quick`: a few minutes on two cores
  trilemma run smoke                 a few seconds, to test the installation
  trilemma run my-suite.toml -j 4    your own suite, four cells at a time
  trilemma info realnvp              what a model is and its options
"""


@click.group(
    cls=PluginGroup,
    commands_in={
        "run": "trilemma.harness.cli.run:run",
        "merge": "trilemma.harness.cli.merge:merge",
        "tune": "trilemma.harness.cli.tune:tune",
        "watch": "trilemma.harness.cli.watch:watch",
        "rerun": "trilemma.harness.cli.rerun:rerun",
        "claims": "trilemma.harness.cli.claims:claims",
        "compare": "trilemma.harness.cli.compare:compare",
        "sample": "trilemma.harness.cli.sample:sample",
        "score-points": "trilemma.harness.cli.sample:score_points",
        "results": "trilemma.harness.cli.results:results",
        "list": "trilemma.harness.cli.inspect:list_",
        "info": "trilemma.harness.cli.inspect:info",
        "check": "trilemma.harness.cli.check:check",
        "card": "trilemma.harness.cli.card:card",
        "plugins": "trilemma.harness.cli.inspect:plugins",
        "doctor": "trilemma.harness.cli.doctor:doctor",
        "gc": "trilemma.harness.cli.gc:gc",
        "new": "trilemma.harness.cli.new.command:new",
        "completion": "trilemma.harness.cli.completion:completion",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="trilemma")
def main() -> None:
    """Which generative model should I use, and what does it cost me?

    Trains generative models on shared datasets under equal budgets and compares sample quality, coverage and sampling
    cost. Plugins may add commands: see `trilemma plugins`.
    """
