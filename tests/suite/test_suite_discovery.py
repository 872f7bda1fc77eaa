from __future__ import annotations

import os

import pytest

from pytest_bench.errors import SuiteError
from pytest_bench.files import open_plain
from pytest_bench.suite.discovery import LARGEST_SUITE, discover, require_all_found


@pytest.fixture
def tree(tmp_path):
    for name in (
        "suites/chat.yaml",
        "suites/wan.yaml",
        "suites/test_perf.py",
        "suites/notes.yml",
        "suites/data/words.txt",
        "suites/team/team.yaml",
        "suites/team/test_perf.py",
        "suites/team/deep/deep.yaml",
        "suites/team/deep/test_perf.py",
        "suites/team/deep/data/x.yaml",
        "suites/.hidden/hidden.yaml",
        "suites/.hidden/test_perf.py",
        "other/other.yaml",
        "top.yaml",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("suite: some\n", encoding="utf-8")
    return tmp_path


def found(tree, *args: str, testpaths: tuple[str, ...] = (), cwd: str = "") -> list[str]:
    files = discover(args, tree, testpaths, cwd=tree / cwd)
    return [path.relative_to(tree).as_posix() for path in files]


def test_a_folder_gives_its_own_suites_and_those_of_subfolders_with_tests(tree):
    assert found(tree, "suites") == [
        "suites/chat.yaml",
        "suites/notes.yml",
        "suites/team/deep/deep.yaml",
        "suites/team/team.yaml",
        "suites/wan.yaml",
    ]


def test_a_folder_without_tests_gives_its_own_suites(tree):
    assert found(tree, "other/") == ["other/other.yaml"]
    assert found(tree, "suites/team/deep/data") == ["suites/team/deep/data/x.yaml"]


def test_a_file_or_node_id_means_its_folder_alone(tree):
    expected = ["suites/chat.yaml", "suites/notes.yml", "suites/wan.yaml"]
    assert found(tree, "suites/test_perf.py") == expected
    assert found(tree, "suites/test_perf.py::test_perf[chat/perf/steady/c0008]") == expected


def test_without_arguments_the_testpaths_count(tree):
    assert found(tree, testpaths=("suites/team",)) == ["suites/team/deep/deep.yaml", "suites/team/team.yaml"]
    assert found(tree, testpaths=("oth*",)) == ["other/other.yaml"]


def test_without_testpaths_the_working_folder_counts(tree):
    assert found(tree, cwd="other") == ["other/other.yaml"]


def test_arguments_are_relative_to_the_working_folder(tree):
    assert found(tree, "../other", cwd="suites") == ["other/other.yaml"]


def test_a_suite_found_twice_is_listed_once(tree):
    assert found(tree, "other", "other/other.yaml", "./other") == ["other/other.yaml"]


@pytest.mark.parametrize("name", ["nowhere", "suites/nothing.py::test", "n" * 300])
def test_a_path_that_does_not_exist_is_left_to_pytest(tree, name):
    assert found(tree, name) == []


@pytest.mark.parametrize(
    "text",
    [
        "suite: a\n",
        "# x\n\nsuite : a\n",
        '"suite": a\n',
        "{suite: a, perf: {}}\n",
        "a: 1\nsuite: b\n",
        "\ufeffsuite: a\n",
        "--- {suite: a}\n",
        "# x\rsuite: a\r",
    ],
)
def test_a_top_level_suite_key_makes_a_folder_one_of_suites(tmp_path, text):
    (tmp_path / "any.yaml").write_text(text, encoding="utf-8")
    assert found(tmp_path, ".") == ["any.yaml"]


@pytest.mark.parametrize(
    "text", ["", "services: {suite: a}\n", "jobs:\n  suite: a\n", "suites: []\n", "# suite: a\n"]
)
def test_yaml_of_other_tools_is_not_a_suite(tmp_path, text):
    (tmp_path / "docker-compose.yaml").write_text(text, encoding="utf-8")
    assert found(tmp_path, ".") == []


def test_beside_a_suite_every_yaml_must_be_one(tmp_path):
    (tmp_path / "right.yaml").write_text("suite: right\n", encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text("siute: wrong\n", encoding="utf-8")
    assert found(tmp_path, ".") == ["right.yaml", "wrong.yaml"]


def large(path, begins=""):
    """A file that is a byte too large for a suite, nearly all of it a hole."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(begins)
        stream.truncate(LARGEST_SUITE + 1)


def test_a_large_yaml_of_another_tool_is_not_a_suite(tmp_path):
    large(tmp_path / "cassette.yaml", "interactions:\n")
    assert found(tmp_path, ".") == []


def test_a_suite_that_is_too_large_is_found_for_its_reader_to_refuse(tmp_path):
    large(tmp_path / "large.yaml", "suite: large\n")
    assert found(tmp_path, ".") == ["large.yaml"]


def test_an_unreadable_yaml_is_refused_only_in_a_folder_with_a_suite(tmp_path, monkeypatch):
    barred = tmp_path / "barred.yaml"
    barred.write_text("suite: barred\n", encoding="utf-8")

    def open_unless_barred(path):  # file modes do not keep root out, which tests may run as
        if path == barred:
            raise PermissionError(13, "Permission denied", str(path))
        return open_plain(path)

    monkeypatch.setattr("pytest_bench.suite.discovery.open_plain", open_unless_barred)
    assert found(tmp_path, ".") == []
    (tmp_path / "right.yaml").write_text("suite: right\n", encoding="utf-8")
    assert found(tmp_path, ".") == ["barred.yaml", "right.yaml"]


def test_a_suite_in_utf16_is_found_for_its_reader_to_refuse(tmp_path):
    (tmp_path / "any.yaml").write_text("suite: a\n", encoding="utf-16")
    assert found(tmp_path, ".") == ["any.yaml"]


@pytest.mark.parametrize("name", ["other.yml", "other.YAML", "other.Yml", ".other.yaml"])
def test_every_spelling_of_the_suffix_counts(tmp_path, name):
    (tmp_path / "right.yaml").write_text("suite: right\n", encoding="utf-8")
    (tmp_path / name).write_text("suite: other\n", encoding="utf-8")
    assert found(tmp_path, ".") == sorted([name, "right.yaml"])


@pytest.mark.parametrize("kind", ["dangling link", "pipe", "folder"])
def test_beside_a_suite_an_entry_that_is_not_a_file_is_found_for_its_reader_to_refuse(tmp_path, kind):
    (tmp_path / "right.yaml").write_text("suite: right\n", encoding="utf-8")
    other = tmp_path / "wrong.yaml"
    if kind == "dangling link":
        other.symlink_to("nowhere.yaml")
    elif kind == "pipe":
        os.mkfifo(other)
    else:
        other.mkdir()
    assert found(tmp_path, ".") == ["right.yaml", "wrong.yaml"]


def test_a_lock_of_an_editor_is_not_a_suite(tmp_path):
    (tmp_path / "right.yaml").write_text("suite: right\n", encoding="utf-8")
    (tmp_path / ".#right.yaml").symlink_to("user@host.1234")
    assert found(tmp_path, ".") == ["right.yaml"]


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path, "elsewhere/chat.yaml", "elsewhere/test_perf.py")
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "team").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "suites" / "loop").symlink_to(tmp_path / "suites")
    assert found(tmp_path, "suites") == ["suites/team/chat.yaml"]


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("suite: some\n" if path.suffix == ".yaml" else "", encoding="utf-8")


def passed_over(root, *args, testpaths=()):
    """What a call would pass over, one line each."""
    try:
        require_all_found(discover(args, root, testpaths, cwd=root), args, root, testpaths, cwd=root)
    except SuiteError as error:
        return list(error.problems)
    return []


def test_a_call_that_finds_every_suite_is_accepted(tmp_path):
    write(
        tmp_path, "suites/chat.yaml", "suites/test_perf.py", "suites/team/a.yaml", "suites/team/test_perf.py"
    )
    assert passed_over(tmp_path, "suites") == []


def test_a_suite_in_a_subfolder_without_tests_is_refused(tmp_path):
    write(tmp_path, "suites/chat.yaml", "suites/test_perf.py", "suites/team/a.yaml", "suites/team/helper.py")
    [problem] = passed_over(tmp_path, "suites")
    assert problem.startswith(
        "suites/team/a.yaml: is a suite that would not run: its folder holds no test_*.py; add one"
    )
    assert passed_over(tmp_path, "suites", "suites/team") == []


@pytest.mark.parametrize("name", ["build", "dist", "venv", ".x", "build/lib", ".x/y"])
def test_a_suite_in_a_folder_that_pytest_does_not_collect_from_is_refused(tmp_path, name):
    write(tmp_path, "suites/chat.yaml", f"suites/{name}/a.yaml", f"suites/{name}/test_perf.py")
    [problem] = passed_over(tmp_path, "suites")
    top = name.partition("/")[0]
    assert problem.startswith(
        f"suites/{name}/a.yaml: is a suite that would not run: pytest does not collect from folders named {top!r}"
    )


@pytest.mark.parametrize("name", [".git", "node_modules", "__pycache__"])
def test_folders_of_version_control_and_packages_are_not_searched(tmp_path, name):
    write(tmp_path, "suites/chat.yaml", f"suites/{name}/a.yaml", f"suites/{name}/test_perf.py")
    assert passed_over(tmp_path, "suites") == []


def test_a_virtual_environment_is_not_searched(tmp_path):
    write(tmp_path, "suites/chat.yaml", "suites/env/a.yaml", "suites/env/pyvenv.cfg")
    assert passed_over(tmp_path, "suites") == []


def test_yaml_of_other_tools_in_subfolders_is_accepted(tmp_path):
    write(tmp_path, "suites/chat.yaml")
    (tmp_path / "suites" / "data").mkdir()
    (tmp_path / "suites" / "data" / "rows.yaml").write_text("rows: []\n", encoding="utf-8")
    assert passed_over(tmp_path, "suites") == []


def test_files_are_not_refused_if_there_is_no_suite(tmp_path):
    write(tmp_path, "tests/data/a.yaml", "tests/test_x.py")
    assert passed_over(tmp_path, "tests", testpaths=("nowhere",)) == []


@pytest.mark.parametrize("pattern", ["evals", "ev*", "../evals"])
def test_an_entry_of_testpaths_that_matches_nothing_is_refused(tmp_path, pattern):
    write(tmp_path, "suites/chat.yaml")
    [problem] = passed_over(tmp_path, testpaths=("suites", pattern))
    assert problem.startswith(f"testpaths: {pattern!r} matches nothing below {tmp_path}")
