"""The options of ``causalmix design``; nothing here loads what computes."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path


def add_options(parser: ArgumentParser) -> None:
    """Give a command line the options of a design."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--domains", metavar="A,B,C", help="names of the domains, for the first runs of a sweep")
    where.add_argument("--history", type=Path, metavar="FILE", help="runs that are there: the next ones are proposed")
    where.add_argument("--study", metavar="NAME", help="a study's history, or its domains where it has none yet")
    parser.add_argument("--runs", type=int, required=True, metavar="N", help="runs to propose")
    parser.add_argument("--covariates", default="", metavar="NAME=LOW:HIGH,…",
                        help="ranges of what a run's data can be; default: those of the history")  # fmt: skip
    parser.add_argument("--sizes", default="", metavar="N,…", help="rows of a training set; default: the history's")
    for bound, default in (("floor", "0"), ("cap", "1")):
        told = f"{'smallest' if bound == 'floor' else 'largest'} share, one for all or by domain; default: %(default)s"
        parser.add_argument(f"--{bound}", default=default, metavar="SHARE|NAME=SHARE,…", help=told)
    parser.add_argument("--reference", default="", metavar="NAME=SHARE,…", help="what gains are over; default: Equal")
    parser.add_argument("--criterion", default="", metavar="D|I",
                        help="learn all, or the gains; default: D, with a history I")  # fmt: skip
    parser.add_argument("--target", default="", metavar="NAME=VALUE,…", help="state that the gain is for; default: all")
    parser.add_argument("--outcome", default="y_dev", metavar="NAME", help="of the history; default: %(default)s")
    parser.add_argument("--lower-is-better", action="store_true", help="the outcome is a loss")
    parser.add_argument("--anchors", type=float, default=0.1, metavar="SHARE",
                        help="of runs at the reference and the present optimum; default: %(default)s")  # fmt: skip
    parser.add_argument("--noise", type=float, metavar="SD", help="of an outcome between equal runs")
    parser.add_argument("--half-width", type=float, metavar="WIDTH",
                        help="tell how many runs this half-width of the 95%% interval of the gain takes")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="new CSV file; default: the terminal")
