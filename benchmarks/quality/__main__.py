"""Are searched encoders better than others of their size, once all are trained alike? Paired, at four sizes; resumable.

    python -m benchmarks.quality text FOLDER/snippets.jsonl
    nas-ray search quickstart --set space=benchmarks/quality/space.yaml --set 'text.sources=[{source: gutenberg, share: 0.5}, {source: "dataset:FOLDER/snippets.jsonl", share: 0.5}]'
    nas-ray profile benchmarks/quality/space.yaml --runtime onnxruntime --output FOLDER/latency.parquet
    python -m benchmarks.quality prepare RUN BUNDLE --latency FOLDER/latency.parquet
    python -m benchmarks.quality restore BUNDLE         instead of all above: the bundle of the committed rows
    python -m benchmarks.quality run BUNDLE --setting cpu --minutes 90 --workers 2      as often as it takes
    python -m benchmarks.quality speed BUNDLE                                           on an idle machine
    python -m benchmarks.quality report --setting cpu

``run`` needs torch, transformers, safetensors and numpy beside this repository: a bundle can be taken to a bare machine
with a GPU (``--setting gpu``). Rows go to ``benchmarks/results/quality/``; the method stands in ``docs/benchmarks.md``.
"""  # noqa: E501

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.quality._setting import SETTINGS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("text", help="the snippets that a search may read")
    command.add_argument("file", type=Path)
    command = commands.add_parser("prepare", help="choose the arms; write a bundle")
    command.add_argument("run", type=Path)
    command.add_argument("bundle", type=Path)
    command.add_argument("--latency", type=Path, help="a table by `nas-ray profile`; the run's own if not given")
    command = commands.add_parser("restore", help="write the bundle of the committed rows again")
    command.add_argument("bundle", type=Path)
    command = commands.add_parser("run", help="train what is left")
    command.add_argument("bundle", type=Path)
    command.add_argument("--minutes", type=float, default=90.0)
    command.add_argument("--workers", type=int, default=2)
    command.add_argument("--rows", type=Path, help="another file than the committed one")
    command.add_argument("--rate", type=float, help="another learning rate, to choose it by select_loss; with --rows")
    command.add_argument("--only", help="one arm, to choose by or to time it; with --rows")
    command = commands.add_parser("speed", help="time all but the random models")
    command.add_argument("bundle", type=Path)
    command.add_argument("--repeats", type=int, default=40)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--out", type=Path, help="another file than the committed one")
    command = commands.add_parser("report", help="tables in Markdown and a figure")
    command.add_argument("--rows", type=Path)
    for name in ("run", "report"):
        commands.choices[name].add_argument("--setting", choices=list(SETTINGS), default="cpu")
    args = parser.parse_args()
    if args.command == "text":
        from benchmarks.quality._prepare import write_text

        write_text(args.file)
    elif args.command == "prepare":
        from benchmarks.quality._prepare import prepare

        prepare(args.run, args.bundle, args.latency)
    elif args.command == "restore":
        from benchmarks.quality._prepare import restore

        restore(args.bundle)
    elif args.command == "run":
        from benchmarks.quality._run import run

        setting = SETTINGS[args.setting]
        if (args.rate or args.only) and args.rows is None:
            parser.error("--rate and --only go with --rows: the committed rows are of one kind")
        if args.rate:
            setting = replace(setting, rates=dict.fromkeys(setting.rates, args.rate))
        run(args.bundle, setting, args.minutes, args.workers, args.rows, args.only)
    elif args.command == "speed":
        from benchmarks.quality._speed import speed

        speed(args.bundle, args.repeats, args.threads, args.out)
    else:
        from benchmarks.quality._report import report

        report(SETTINGS[args.setting], args.rows)


if __name__ == "__main__":
    main()
