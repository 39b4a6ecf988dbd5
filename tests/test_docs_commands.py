"""Every command that a document shows is run here, or by the test that is named beside it."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from funnel.cli.arguments import parser, split
from funnel.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text()
PROGRAMS = ("funnel", "make", "python", "pip", "tensorboard")
# Whose commands another test runs; what needs a cluster or hours is parsed here, and its page says
# on what it was not run.
ELSEWHERE = {
    "pip install '.[all]'": "test_package.py, from the wheel",
    "make lint test": "continuous integration",
    "python benchmarks/architectures.py": "test_benchmarks.py",
    "command-line.md": "test_funnel_cli_help.py, test_funnel_cli_completion.py",
    "defaults.md": "test_funnel_experiment_defaults.py, on small sets",
    "experiments.md": "test_funnel_experiments.py, on small tables",
    "init.md": "test_docs_init.py",
    "training.md": "test_docs_training.py",
}


def shown(page):
    """The commands of a page: lines of shell blocks and of indented blocks."""
    fence, lines = None, page.read_text().replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("```"):
            fence = line[3:] if fence is None else None
        elif fence == "sh" or (fence is None and line.startswith("    ")):
            command = re.split(r"\s(?:#|[|>])", line)[0].strip()
            if re.match(rf"({'|'.join(PROGRAMS)}) \S", command) and "   " not in command:
                yield " ".join(command.split())


COMMANDS = {page.name: list(shown(page)) for page in PAGES}
OF_README = [command for command in COMMANDS["README.md"] if command not in ELSEWHERE]


def test_every_command_has_a_test():
    assert OF_README == [
        "funnel init --example demo",
        "funnel run demo.toml",
        "funnel init logs/impressions logs/clicks logs/conversions --output my.toml",
        "funnel run my.toml",
        "funnel inspect runs/my",
    ]
    others = {(page, c) for page, own in COMMANDS.items() for c in own if page != "README.md"}
    assert [pair for pair in sorted(others) if not ELSEWHERE.keys() & {*pair}] == []
    tests = set(re.findall(r"test_\w+\.py", " ".join(ELSEWHERE.values())))
    assert [test for test in tests if not (ROOT / "tests" / test).is_file()] == []


@pytest.mark.parametrize(
    "command", sorted({c for own in COMMANDS.values() for c in own if c.startswith("funnel ")})
)
def test_it_parses(command):
    own, beam = split(shlex.split(command.replace("…", "folder").replace("$start", ""))[1:])
    assert parser().parse(own).command == own[0]
    assert not beam or own[0] in ("run", "preprocess")


TARGETS = {
    target
    for page in PAGES
    for words in re.findall(r"(?:^    |`)make ([a-z -]+)", page.read_text(), re.MULTILINE)
    for target in words.split()
}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_make_knows_the_target(target):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_readme(tmp_path, monkeypatch, capsys):
    """The README from its first command to its last, on fewer impressions."""
    monkeypatch.chdir(tmp_path)
    example, demo, init, run, inspect = (shlex.split(command)[1:] for command in OF_README)
    assert main(example) == 0
    text = Path("demo.toml").read_text()
    Path("demo.toml").write_text(text.replace("impressions = 300_000", "impressions = 20_000"))
    assert main(demo) == 0
    (script,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in script.splitlines() if line]) <= 12
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    auc, scores = done.stdout.split(" ", 1)
    assert 0.5 < float(auc) < 1
    assert set(eval(scores)) == {"p_ctr", "p_cvr", "p_ctcvr"}
    assert done.stderr == ""
    shutil.copytree("runs/demo/logs", "logs")
    assert main(init) == 0
    assert main(run) == 0
    assert Path("runs/my/report.html").is_file()
    capsys.readouterr()
    assert main(inspect) == 0
    assert "runs/my/config.toml" in capsys.readouterr().out
