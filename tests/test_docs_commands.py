"""Every command in a console block of the documentation is run, or is in `NOT_RUN` with the reason.

The commands of a page run in its order, in one shell and one folder. The folder has smaller copies of the shipped
suites. URLs are replaced: those of suites by the built-in simulator, those of `measure` by a simulator on loopback.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml
from docs_pages import PAGES, ROOT, blocks, commands
from eval_folder import write_eval
from lmeval_folder import EvalFolder

from pytest_bench import simulator
from pytest_bench.cli.main import COMMANDS, _parser

OTHER = "starts a program of another project"
INDEX = "installs packages from an index"
SERVES = "runs until it is ended: test_a_server_that_a_page_starts_answers_until_it_is_interrupted"
ENGINE = "needs a Docker engine, and tests/containers run it where there is one"
KEY = "needs an account with the provider"
MADENGINE = "needs madengine; tests of points with tables run a program in its place"
MAKE = "sets up an environment of its own; the shipped suites run in tests/contract/test_shipped_suites.py"

SERVERS = "docs/how-to/servers"
HOW_TO = "docs/how-to"
REFERENCE = "docs/reference/command-line.md"

NOT_RUN = {
    ("README.md", "python3 -m venv venv && . venv/bin/activate"): INDEX,
    ("README.md", "pip install path/to/checkout"): INDEX,
    ("README.md", "pip wheel --no-deps --wheel-dir wheels path/to/checkout"): INDEX,
    ("README.md", "pip install wheels/pytest_inference_bench-*.whl"): INDEX,
    (
        "README.md",
        "make demo     # set everything up, then run the shipped suites on the built-in simulator",
    ): MAKE,
    ("README.md", "make test     # set everything up, then run the tests"): MAKE,
    ("docs/tutorial/first-benchmark.md", "make demo"): MAKE,
    (
        "docs/tutorial/first-benchmark.md",
        "pytest-bench serve --model my-model --port 8000 --ttft-ms 40 --itl-ms 5",
    ): SERVES,
    (
        f"{HOW_TO}/gate-a-deployment-in-ci.md",
        "pip wheel --no-deps --wheel-dir wheels path/to/checkout",
    ): INDEX,
    (f"{HOW_TO}/gate-a-deployment-in-ci.md", "pip install wheels/pytest_inference_bench-*.whl"): INDEX,
    (
        f"{HOW_TO}/read-and-share-a-report.md",
        "pip install 'pytest-inference-bench[report]'    # once, for the plots; from a checkout: '.[report]'",
    ): INDEX,
    (
        f"{HOW_TO}/run-on-slurm.md",
        "salloc --nodes 4 --no-kill pytest suites/ --slurm --complete",
    ): "needs Slurm, and tests/cluster run it where there is one",
    (
        f"{HOW_TO}/run-a-disaggregated-server.md",
        "salloc --nodes 2 pytest suites/ --slurm --complete",
    ): "needs Slurm, and tests/gang run it where there is one",
    (
        f"{HOW_TO}/wait-for-other-nodes.md",
        "srun --nodes=3 --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=0 pytest tests/test_server.py",
    ): "needs Slurm, and tests/cluster/test_barrier_fixture.py runs it where there is one",
    (
        f"{HOW_TO}/serve-a-model-in-a-container.md",
        "make image                        # an image with the built-in simulator",
    ): ENGINE,
    (
        f"{HOW_TO}/serve-a-model-in-a-container.md",
        "pytest suites/ -k container       # on a bridge network, and on that of the host",
    ): ENGINE,
    (
        f"{HOW_TO}/serve-a-model-in-a-container.md",
        "sudo tests/containers/with-engine sh -c 'make image && .venv/bin/pytest suites/ -k container'",
    ): ENGINE,
    (
        f"{HOW_TO}/several-endpoints-and-keys.md",
        "SSL_CERT_FILE=ca.pem pytest bench/ --endpoint=https://node1:8443",
    ): "needs a server with a certificate: tests/load/test_load_wire.py and tests/endpoints measure over TLS",
    (
        f"{HOW_TO}/use-lm-evals-results.md",
        "python3 -m venv ~/lm-eval && ~/lm-eval/bin/pip install 'lm_eval[api]==0.4.13'",
    ): INDEX,
    (
        f"{HOW_TO}/use-lm-evals-results.md",
        "pytest suites/ -k gsm8k-lm-eval --endpoint=http://host:8000",
    ): "needs lm-eval: tests/evals/test_lm_eval_command.py runs it where it is installed",
    (f"{HOW_TO}/use-tables-of-other-tools.md", "pytest suites/ -k mad"): MADENGINE,
    (
        f"{HOW_TO}/use-tables-of-other-tools.md",
        "salloc --nodes 2 --no-kill pytest suites/ -k mad",
    ): MADENGINE,
    (
        f"{SERVERS}/azure.md",
        "pytest bench/ -k azure --requests 5      # what does it cost?",
    ): KEY,
    (f"{SERVERS}/azure.md", "pytest bench/ -k azure"): KEY,
    (f"{SERVERS}/gateways.md", "litellm --config config.yaml --port 4000"): OTHER,
    (
        f"{SERVERS}/llama-cpp.md",
        "llama-server --model model.gguf --alias my-model --port 8080 --parallel 4 --ctx-size 8192 --metrics",
    ): f"{OTHER}; tests/llama run it where it is installed",
    (
        f"{SERVERS}/ollama.md",
        "OLLAMA_NUM_PARALLEL=4 OLLAMA_CONTEXT_LENGTH=4096 OLLAMA_KEEP_ALIVE=-1 ollama serve",
    ): OTHER,
    (f"{SERVERS}/ollama.md", "ollama pull llama3.2:1b"): OTHER,
    (
        f"{SERVERS}/sglang.md",
        "python -m sglang.launch_server --model-path MODEL --port 30000 --enable-metrics",
    ): OTHER,
    (f"{SERVERS}/tensorrt-llm.md", "trtllm-serve MODEL --host 0.0.0.0 --port 8000"): OTHER,
    (f"{SERVERS}/transformers-serve.md", "pip install 'transformers[serving]'"): INDEX,
    (f"{SERVERS}/transformers-serve.md", "transformers serve --port 8000"): OTHER,
    (f"{SERVERS}/vllm.md", "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --port 8000"): OTHER,
    (REFERENCE, "pytest-bench calibrate --seconds 5"): "loads the machine for more than a minute",
    (REFERENCE, "pytest-bench serve --port 8000 --ttft-ms 50 --itl-ms 10 --fault reset=0.1"): SERVES,
}
"""Commands that are not run, by page and command, and why. What they ask of this package is checked."""

REFUSED = {
    (
        f"{HOW_TO}/export-for-mlperf.md",
        "pytest-bench export results/latest submission/",
    ): "cannot be submitted",
}
"""Commands that are run and refused because the simulator was measured, and a part of the message."""

ANSWERS = {"compare": "0 3 4", "repeat": "0 4"}
"""Exit statuses that are answers, by the name of the command: two simulators may differ on a busy machine."""

COMMANDS_OF = {page: [command for block in blocks(page) for command in commands(block)] for page in PAGES}
RUN_ON = [page for page in PAGES if any((page, command) not in NOT_RUN for command in COMMANDS_OF[page])]

ITEMS = 20
"""Of each result of lm-eval."""

BENCH = """\
suite: chat
deployment:
  api: openai-chat
  model: my-model
  endpoint: ${CHAT_ENDPOINT:-}
  tokens: {tokenizer: ../suites/simulated}
  generation: {max_tokens: 16, temperature: 0, ignore_eos: true}
datasets:
  prompts: {path: data/prompts.jsonl}
perf:
  steady:
    dataset: prompts
    load: {pattern: concurrency, requests: 16}
    sweep: {concurrency: [1, 4, 16]}
    budget: {vacancy: 1}
    bounds: {error_rate: "<= 0%"}
"""

SMALLER = {
    "quickstart.yaml": [
        (r"requests: \d+", "requests: 8"),
        (r"concurrency: \[.*?\]", "concurrency: [1, 4]"),
        (
            r"load: (.*)",
            r"load: \1\n    budget: {vacancy: 1, achieved_share: 0.01, schedule_lateness_ms: 5000}",
        ),
    ],
    "gsm8k.yaml": [
        (r"concurrency: \[.*?\]", "concurrency: [1, 16, 64]"),
        (r"repeats: 3", "repeats: 1\n    budget: {vacancy: 1}"),
        (r"ttft_ms: \d+", "ttft_ms: 20"),
        (r"threshold: 0.5", "threshold: 0.1"),
    ],
    "wan22.yaml": [
        (r"requests: \d+", "requests: 8"),
        (r"load: (.*)", r"load: \1\n    budget: {vacancy: 1}"),
        (r"minimum_duration_s: \d+", "minimum_duration_s: 1"),
        (r"threshold: .*", "threshold: 0.9"),
        (r"video_ms: \d+", "video_ms: 100"),
    ],
}
"""Replacements that make a shipped suite take seconds, and independent of what else the machine does."""

SHORTER = [
    (r"--requests \d+", "--requests 4"),
    (r"^pytest-bench run suites/(.* --results results/(old|new)$)", r"pytest-bench run small/\1"),
    (r"\brepeat \d+(.* -- )suites/", r"repeat 6\1small/"),
    (r"--concurrency [\d,]+", "--concurrency 1,2"),
    (r"^pytest-bench slurm submit", "pytest-bench slurm submit --dry-run"),
    ("…", "-not-a-key"),
]

TOLERATED = """\
import json, sys
from pathlib import Path
verdict = Path("results/latest/verdict.json")
points = json.loads(verdict.read_text())["points"] if verdict.exists() else []
whys = [reason["code"] + reason["sentence"] for point in points for reason in point["reasons"]]
sys.exit(not whys or not all("client-bound" in why for why in whys))
"""
"""A session on a busy machine may end red because the client was its bottleneck. Nothing else is tolerated."""

SCRIPT = """\
checked() {{
    [[ " ${{3:-0}} " = *" $1 "* ]] || {python} tolerated.py || {{ echo "status $1: $2" >&2; exit 1; }}
}}
refused() {{
    [ "$1" != 0 ] || {{ echo "not refused: $2" >&2; exit 1; }}
}}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """URLs of simulators on loopback, by the name of the model that they serve."""
    with ExitStack() as stack:
        urls = {}

        def url(model):
            if model not in urls:
                behaviour = simulator.Behaviour(model=model, ttft_ms=100, itl_ms=1)
                urls[model] = stack.enter_context(simulator.start(behaviour)).url
            return urls[model]

        yield url


@pytest.fixture(scope="session")
def shipped_session(tmp_path_factory):
    """A function that returns the results of one complete session of the smaller suites, made once for all processes
    of the tests."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "docs-session"

    def results():
        with Path(f"{shared}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not shared.exists():
                shared.mkdir()
                make_world(shared)
                run_session(shared, "suites/")
        return shared / "results"

    return results


@pytest.fixture
def world(tmp_path, shipped_session):
    """A function that makes the folder in which a page's commands are run."""

    def make(page):
        make_world(tmp_path)
        used = " ".join(COMMANDS_OF[page])
        if "pytest-bench init bench/" in used:
            shutil.rmtree(tmp_path / "bench")
        elif "-p bench/conftest.py" in used:
            code = [block.text for block in blocks(page) if block.first_line.startswith("# conftest.py")]
            shutil.rmtree(tmp_path / "bench")
            write_eval(tmp_path)
            (tmp_path / "bench/conftest.py").write_text(*code)
        if not re.search(r"\bresults/(latest|monday|before|after)\b", used):
            return tmp_path
        if "-p bench/conftest.py" in used or "--point chat/perf/steady" in used:
            run_session(tmp_path, "bench/")
        else:
            shutil.copytree(shipped_session(), tmp_path / "results", symlinks=True)
        (given,) = (
            path for path in (tmp_path / "results").iterdir() if path.is_dir() and not path.is_symlink()
        )
        for name in ("monday", "before", "after", "old", "new"):
            shutil.copytree(given, tmp_path / "results" / name)
        return tmp_path

    return make


def make_world(folder):
    """Smaller suites, folders `bench` and `small`, tests of other things, tokenizers, and results of lm-eval."""
    shutil.copytree(
        ROOT / "suites", folder / "suites", ignore=shutil.ignore_patterns("__pycache__", "container*")
    )
    for name, replacements in SMALLER.items():
        path = folder / "suites" / name
        text = path.read_text()
        for old, new in replacements:
            text, count = re.subn(old, new, text)
            assert count, f"{name}: nothing matches {old}"
        path.write_text(text)
    stories = folder / "suites/data/arithmetic-stories.jsonl"
    stories.write_text("".join(stories.read_text().splitlines(keepends=True)[:64]))
    (folder / "bench/data").mkdir(parents=True)
    (folder / "bench/chat.yaml").write_text(BENCH)
    shutil.copy(folder / "suites/test_perf.py", folder / "bench")
    shutil.copy(folder / "suites/data/chat-prompts.jsonl", folder / "bench/data/prompts.jsonl")
    shutil.copytree(folder / "bench", folder / "small")
    (folder / "small/chat.yaml").write_text(BENCH.replace("[1, 4, 16]", "[16]"))
    (folder / "tests").mkdir()
    (folder / "tests/test_other.py").write_text("def test_other():\n    pass\n")
    for name in ("MODEL", "models/other-model"):
        shutil.copytree(ROOT / "suites/simulated", folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "runtime").mkdir(mode=0o700)
    (folder / "lm-eval/bin").mkdir(parents=True)
    (folder / "lm-eval/bin/python").symlink_to(sys.executable)
    (folder / "bin").mkdir()
    (folder / "bin/madengine").symlink_to("/bin/true")
    (folder / "tolerated.py").write_text(TOLERATED)
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest -p no:anyio\n"
    )


def environment(folder):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    names = ("ENDPOINT", "CHAT_ENDPOINT", "GSM8K_ENDPOINT", "WAN_ENDPOINT")
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{folder / 'bin'}:{os.environ['PATH']}",
        "PYTEST_BENCH_LEASES": str(folder / "runtime"),
        "HF_HUB_OFFLINE": "1",
        "HOME": str(folder),
        **dict.fromkeys(names, "simulator"),
    }


def shell(folder, script):
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


def run_session(folder, suites):
    done = shell(folder, f"pytest {suites} --endpoint=simulator")
    assert done.returncode == 0, done.stdout


def here(command, servers):
    """A command of a page as it is run: with endpoints of this machine, and short."""
    for old, new in SHORTER:
        command = re.sub(old, new, command)
    if re.search(r"\b(suites|bench|small)/", command):
        return re.sub(r"https?://[^\s'\"]+", "simulator", command)
    named = re.search(r"--model (\S+)", command)
    return re.sub(r"https?://[^\s'\"]+", lambda _: servers(named[1] if named else "my-model"), command)


def is_run_elsewhere(page, command):
    """Whether another page runs the command: an example of the reference, or the same measurement."""
    others = PAGES if page == REFERENCE else list(PAGES)[: list(PAGES).index(page)]
    alone = page == REFERENCE or command.startswith("pytest-bench measure ")
    return alone and any(
        here(command, str) == here(other, str)
        for name in others
        for other in COMMANDS_OF[name]
        if name != page and (name, other) not in NOT_RUN
    )


def script(page, servers):
    """The commands of a page that are run, and the files that it says to write, as one program of a shell."""
    lines = [SCRIPT.format(python=shlex.quote(sys.executable))]
    for block in blocks(page):
        written = re.search(r"(?:into|contents of) `(bench/\S+)`(?: with)?:$", block.before)
        if written:
            lines.append(f"cat > {written[1]} <<'END'\n{block.text}END")
        if page == REFERENCE:  # its examples do not build on each other
            lines.append(
                '[ -z "$given" ] && given=$(readlink results/latest); ln -sfn "$given" results/latest'
            )
        for command in commands(block):
            if (page, command) in NOT_RUN or is_run_elsewhere(page, command):
                continue
            check = "refused" if (page, command) in REFUSED else "checked"
            line = here(command, servers)
            answers = next((found for name, found in ANSWERS.items() if f"pytest-bench {name} " in line), "0")
            checks = f"{check} $? {shlex.quote(command)} {shlex.quote(answers)}"
            lines += [f"echo {shlex.quote(f'$ {line}')}", line, checks]
    return "\n".join(lines)


@pytest.mark.parametrize("page", RUN_ON)
def test_the_commands_of_a_page_succeed(page, world, servers):
    folder = world(page)
    write_lm_eval_results(folder, page)
    done = shell(folder, script(page, servers))
    assert done.returncode == 0, done.stdout
    for (refusing, _), message in REFUSED.items():
        assert refusing != page or message in done.stdout


def write_lm_eval_results(folder, page):
    """The folders that a page gives to `verify --expected-concs`, as lm-eval writes them, with samples."""
    for name, asked in re.findall(r'verify (\S+)/ --expected-concs "([\d ]+)"', PAGES[page].read_text()):
        results = EvalFolder(folder / name, *map(int, asked.split()))
        for content in results.results.values():
            content["n-samples"] = {"gsm8k": {"original": ITEMS, "effective": ITEMS}}
        results.write()
        lines = [
            json.dumps(lm_eval_sample(item, scored))
            for scored in ("strict-match", "flexible-extract")
            for item in range(ITEMS)
        ]
        for result in results.results:
            samples = result.replace("results_", "samples_gsm8k_").replace(".json", ".jsonl")
            (folder / name / samples).write_text("\n".join(lines))
    for name in ("thresholds.yaml", "thresholds.json"):
        (folder / name).write_text('{"default": {"gsm8k": 0.5}}')


def lm_eval_sample(item, scored):
    """A line of a samples file, as lm-eval 0.4.13 writes it."""
    right = item < 0.9 * ITEMS
    answer = "4" if right else "5"
    return {
        "doc_id": item,
        "doc": {"question": "How many?"},
        "target": "#### 4",
        "arguments": {"gen_args_0": {"arg_0": "How many?", "arg_1": {"until": ["Q"]}}},
        "resps": [[f"It is {answer}."]],
        "filtered_resps": [answer],
        "filter": scored,
        "metrics": ["exact_match"],
        "doc_hash": f"d{item}",
        "prompt_hash": "p",
        "target_hash": "t",
        "exact_match": float(right),
    }


def test_a_row_of_a_table_is_a_command_of_its_page():
    known = {(page, command) for page, found in COMMANDS_OF.items() for command in found}
    assert set(NOT_RUN) | set(REFUSED) <= known


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_in_console_blocks(page):
    """A block of another language is not run."""
    ours = re.compile(r"^(\$|pytest|pytest-bench|make|pip) ", re.MULTILINE)
    hidden = [block for block in blocks(page) if block.language == "" and ours.search(block.text)]
    assert not hidden
    consoles = [block for block in blocks(page) if block.language in {"console", "bash", "sh"}]
    assert all(list(commands(block)) for block in consoles), "a block without a line that begins with `$ `"


def own_words(page, command):
    """The words of this package's command within a command, or None."""
    words = shlex.split(command, comments=True)
    for number, word in enumerate(words):
        if word in {"pytest", "pytest-bench"} and "=" not in word:
            return words[number:]
    return None


OWN = [(page, command) for page, command in NOT_RUN if own_words(page, command)]


@pytest.mark.parametrize(("page", "command"), OWN)
def test_what_a_command_that_is_not_run_asks_of_this_package_exists(page, command, tmp_path):
    """`pytest-bench` accepts its arguments; pytest collects points with its options."""
    program, *words = own_words(page, command)
    if program == "pytest-bench":
        name, *rest = words
        _parser(name, importlib.import_module(COMMANDS[name])).parse_args(rest)
        return
    if words[0] not in {"suites/", "bench/"}:
        return
    make_world(tmp_path)
    for number, block in enumerate(blocks(page)):
        if block.language == "yaml" and yaml.safe_load(block.text).get("suite"):
            folder = tmp_path / words[0]
            (folder / f"page-{number}.yaml").write_text(block.text)
            shutil.copy(ROOT / "suites/test_eval.py", folder)
    for name in ("container.yaml", "container-host.yaml"):
        shutil.copy(ROOT / "suites" / name, tmp_path / "suites")
    # which are refused outside of an allocation, and in a call that runs nothing
    asked = [word for word in words if word not in {"--slurm", "--complete"}]
    done = shell(tmp_path, shlex.join(["pytest", *asked, "--collect-only", "-q"]))
    assert done.returncode == 0, done.stdout
    assert "::test_" in done.stdout


@pytest.mark.parametrize("target", ["demo", "test", "image"])
def test_a_target_that_pages_make_exists(target):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command", sorted({command for (_, command), why in NOT_RUN.items() if why is SERVES})
)
def test_a_server_that_a_page_starts_answers_until_it_is_interrupted(command, tmp_path):
    words = shlex.split(re.sub(r"--port \d+", "--port 0", command))
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            url = json.loads(server.stdout.readline())["url"]
            assert httpx.get(f"{url}/health").status_code == 200
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(30) in {0, 130}
