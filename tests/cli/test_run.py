from __future__ import annotations

import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

import agentops_local
from agentops_local import shim

ROOT = Path(agentops_local.__file__).resolve().parents[1]

RECORD = """
import agentops
agentops.init()
agentops.record(agentops.ActionEvent(action_type={name!r}))
agentops.end_session("Success")
"""

# A program of several processes, each of which does what a classic program does: init(), record().
FAMILY = """
import multiprocessing, os, subprocess, sys
import agentops

def work(name):
    agentops.init()
    agentops.record(agentops.ActionEvent(action_type=name))

if __name__ == "__main__":
    work("parent")
    if len(sys.argv) == 1:
        child = multiprocessing.get_context("spawn").Process(target=work, args=("spawned",))
        child.start()
        child.join()
        assert child.exitcode == 0
        code = "import agentops; agentops.init(); agentops.record(agentops.ActionEvent(action_type='started'))"
        subprocess.run([sys.executable, "-c", code], cwd=os.path.dirname(os.getcwd()), check=True)
"""

needs_posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX has exec and its signals")


def run(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """`agentops-local run` with these arguments."""
    line = [sys.executable, "-m", "agentops_local.cli", "run", *map(str, arguments)]
    env = {**os.environ, **environ}
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)


def python(code: str, *options: str | Path, **environ: str) -> str:
    """What a program prints that runs under `agentops-local run`."""
    done = run(*options, "--", sys.executable, "-c", code, **environ)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def query(database: Path, sql: str) -> list[tuple]:
    """What a reader of the database finds."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an empty environment."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=os.name == "posix")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has agentops_local, and another agentops installed beside it."""
    folder = tmp_path_factory.mktemp("rival")
    venv.create(folder, symlinks=os.name == "posix")
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else sysconfig.get_default_scheme()
    site = Path(sysconfig.get_path("purelib", scheme, {"base": str(folder), "platbase": str(folder)}))
    (site / "agentops").mkdir()
    (site / "agentops" / "__init__.py").write_text("raise SystemExit('the installed agentops was loaded')")
    (site / "agentops-0.3.26.dist-info").mkdir()
    (site / "agentops-0.3.26.dist-info" / "METADATA").write_text("Name: agentops\nVersion: 0.3.26\n")
    (site / "agentops_local.pth").write_text(f"{ROOT}\n")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


# The name ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import agentops; import agentops_local; print(agentops is agentops_local)",
        "import agentops_local; import agentops; print(agentops is agentops_local)",
        "from agentops.event import LLMEvent as a; from agentops_local.event import LLMEvent as b; print(a is b)",
        "from agentops import event as a; import agentops_local.event as b; print(a is b)",
        "import agentops.decorators as a, agentops_local.decorators as b; print(a is b)",
        "import agentops.agent, agentops.config; import agentops_local; print(agentops.agent is agentops_local.agent)",
        "import agentops.partners as a, agentops_local.partners as b; print(a is b)",
        "import agentops_local.client as b, agentops.client as a; print(a.Client() is b.Client())",
        "from importlib import import_module as get; print(get('agentops.session') is get('agentops_local.session'))",
        "from agentops import ActionEvent as a, record; import agentops_local.event as b; print(a is b.ActionEvent)",
    ],
)
def test_classic_name_leads_to_our_modules(project: Path, code: str) -> None:
    """Under `run`, each way of importing from agentops gives the very objects of agentops_local."""
    assert python(code) == "True"


@pytest.mark.skipif(importlib.util.find_spec("langchain_core") is None, reason="langchain-core is not installed")
def test_langchain_handler_is_found_under_its_classic_name(project: Path) -> None:
    """The LangChain handler is imported from where the classic SDK keeps it."""
    code = """
from agentops.partners.langchain_callback_handler import LangchainCallbackHandler
print(LangchainCallbackHandler.__module__)
"""
    assert python(code) == "agentops_local.partners.langchain_callback_handler"


def test_modules_keep_their_own_names(project: Path) -> None:
    """A module imported as agentops.X is still agentops_local.X to itself, so that it can be reloaded and pickled."""
    code = "import agentops.event as e; print(e.__name__, e.__spec__.name, e.__package__)"
    assert python(code) == "agentops_local.event agentops_local.event agentops_local"


def test_pickles_open_under_both_names(project: Path) -> None:
    """A pickle that names our classes, under either name, opens under `run` as an object of the one class there is."""
    code = """
import pickle
from agentops.event import ActionEvent
data = pickle.dumps(ActionEvent(action_type="x"), 0)
import agentops_local.event
print(type(pickle.loads(data)) is agentops_local.event.ActionEvent,
      type(pickle.loads(data.replace(b"agentops_local.event", b"agentops.event"))) is agentops_local.event.ActionEvent)
"""
    assert python(code) == "True True"


def test_unknown_module_is_not_found(project: Path) -> None:
    """A module of the classic SDK that we do not have is not found, as any other, whether asked for or imported."""
    code = """
import importlib.util
print(importlib.util.find_spec("agentops.llms"), importlib.util.find_spec("agentops.event").name)
try:
    import agentops.llms.providers
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert python(code).split() == ["None", "agentops.event", "agentops.llms"]


def test_looking_at_the_shim_changes_nothing(project: Path) -> None:
    """Importing all modules of the package, as documentation tools do, does not make agentops of it."""
    code = "import sys, agentops_local.shim.agentops; print('agentops' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_shim_offers_one_package_only() -> None:
    """The folder put on PYTHONPATH holds the package agentops and hides no other module of the user's."""
    folder = Path(shim.__file__).parent
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"__init__.py", "agentops"}


# The environment -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", ["", "/a", "/a{0}/b c", "{0}/a", "/a{0}"])
def test_python_path_keeps_what_it_held(held: str) -> None:
    """PYTHONPATH keeps all that the user had, to the letter (an empty entry means the working directory)."""
    held = held.format(os.pathsep)
    ours, _, rest = shim.python_path({"PYTHONPATH": held}).partition(os.pathsep)
    assert rest == held
    assert (Path(ours) / "agentops" / "__init__.py").is_file()


def test_python_path_holds_the_shim_once() -> None:
    """`run` within `run` adds nothing."""
    once = shim.python_path({"PYTHONPATH": "/a"})
    assert shim.python_path({"PYTHONPATH": once}) == once


def test_installed_agentops_is_shadowed(project: Path, rival: Path) -> None:
    """An AgentOps SDK that is installed in the program's environment is not loaded."""
    done = run("--", rival, "-c", RECORD.format(name="x"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert query(project / ".agentops" / "agentops.db", "SELECT action_type FROM actions") == [("x",)]


def test_agentops_on_the_users_python_path_is_shadowed(project: Path, rival: Path, tmp_path: Path) -> None:
    """An agentops on the user's own PYTHONPATH is not loaded either, though the rest of that folder is."""
    (tmp_path / "lib" / "agentops").mkdir(parents=True)
    (tmp_path / "lib" / "agentops" / "__init__.py").write_text("raise SystemExit('loaded')")
    (tmp_path / "lib" / "beside.py").write_text("word = 'found'")
    held = os.pathsep.join(filter(None, [str(tmp_path / "lib"), os.environ.get("PYTHONPATH")]))
    assert python("import agentops, beside; print(agentops.__name__, beside.word)", PYTHONPATH=held) == (
        "agentops_local found"
    )


def test_metadata_is_that_of_the_environment(project: Path, rival: Path) -> None:
    """`importlib.metadata` tells what the environment has installed as agentops, not us."""
    code = "import agentops, importlib.metadata as m; print(m.version('agentops'))"
    assert run("--", rival, "-c", code).stdout.strip() == "0.3.26"


def test_metadata_claims_no_installation(project: Path, bare: Path) -> None:
    """Where no agentops is installed, `importlib.metadata` says so, as it does without `run`."""
    code = "import importlib.metadata as m; m.version('agentops')"
    assert "PackageNotFoundError" in run("--", bare, "-c", code, PYTHONPATH="").stderr


def test_environment_without_agentops_local_says_so(project: Path, bare: Path) -> None:
    """A Python that has no agentops_local says in one sentence which it is and what to do, and the import fails."""
    done = run("--", bare, "-c", "import agentops", PYTHONPATH="")
    assert done.returncode == 1
    assert done.stderr.startswith("agentops-local run: nothing is recorded, for ")
    assert f"{bare} -m pip install agentops-local" in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[-1].startswith("ImportError: ")


def test_missing_agentops_local_is_told_even_if_the_import_is_caught(project: Path, bare: Path) -> None:
    """A framework that can do without agentops goes on, and the sentence is printed once."""
    code = """
for name in ("one", "two"):
    try:
        import agentops
    except ImportError as error:
        print(name, error.name)
"""
    done = run("--", bare, "-c", code, PYTHONPATH="")
    assert (done.returncode, done.stdout.split()) == (0, ["one", "agentops", "two", "agentops"])
    assert len(done.stderr.splitlines()) == 1


# Where it is recorded ------------------------------------------------------------------------------------------------


def test_unchanged_program_records_in_the_project(project: Path) -> None:
    """A program that imports agentops is recorded in the project's database."""
    assert python(RECORD.format(name="x")) == ""
    assert query(project / ".agentops" / "agentops.db", "SELECT action_type FROM actions") == [("x",)]


@pytest.mark.parametrize("before", [True, False])
def test_database_can_be_named(project: Path, before: bool) -> None:
    """`--db`, before or after `run`, names a database by its path from here, wherever the program goes."""
    code = "import os; os.chdir(os.path.dirname(os.getcwd()))" + RECORD.format(name="x")
    line = [*(["--db", "own.db", "run"] if before else ["run", "--db", "own.db"]), "--", sys.executable, "-c", code]
    subprocess.run([sys.executable, "-m", "agentops_local.cli", *line], timeout=60, check=True)
    assert query(project / "own.db", "SELECT action_type FROM actions") == [("x",)]


def test_all_processes_record_to_one_database(project: Path) -> None:
    """Child processes, spawned or started in another folder, record to the same database, each its own session."""
    (project / "family.py").write_text(FAMILY)
    assert run("--", sys.executable, "family.py").returncode == 0
    rows = query(project / ".agentops" / "agentops.db", "SELECT count(DISTINCT session_id), count(*) FROM actions")
    assert rows == [(3, 3)]


def test_new_session_is_shared_by_all_processes(project: Path) -> None:
    """`--session new` makes one session of all the processes."""
    (project / "family.py").write_text(FAMILY)
    assert run("--session", "new", "--", sys.executable, "family.py").returncode == 0
    rows = query(
        project / ".agentops" / "agentops.db",
        "SELECT action_type, (SELECT count(*) FROM sessions), (SELECT count(*) FROM owners) FROM actions ORDER BY seq",
    )
    assert rows == [("parent", 1, 3), ("spawned", 1, 3), ("started", 1, 3)]


def test_session_can_be_joined(project: Path) -> None:
    """`--session UUID` makes the program take part in that session, again and again."""
    session = str(uuid4())
    (project / "family.py").write_text(FAMILY)
    for _ in range(2):
        assert run("--session", session, "--", sys.executable, "family.py", "alone").returncode == 0
    rows = query(project / ".agentops" / "agentops.db", "SELECT session_id, action_type FROM actions")
    assert rows == [(session, "parent"), (session, "parent")]


# The program is itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_exit_code_is_the_programs(project: Path, code: int) -> None:
    """The exit code of `run` is that of the program."""
    assert run("--", sys.executable, "-c", f"raise SystemExit({code})").returncode == code


def test_arguments_are_the_programs(project: Path) -> None:
    """What follows the program's name is for the program, options and all, with or without `--` before it."""
    code = "import sys; print(sys.argv[1:])"
    expected = "['--db', 'x', '--', '--help', '']"
    for dashes in ([], ["--"]):
        done = run(*dashes, sys.executable, "-c", code, "--db", "x", "--", "--help", "")
        assert done.stdout.strip() == expected


def test_streams_are_the_programs(project: Path) -> None:
    """Standard input, output and error are the program's own, and nothing is added to them."""
    code = "import sys; print(input()); print('aside', file=sys.stderr)"
    line = [sys.executable, "-m", "agentops_local.cli", "run", "--", sys.executable, "-c", code]
    done = subprocess.run(line, input="hello\n", capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("hello\n", "aside\n")


@needs_posix
def test_program_takes_the_place_of_run(project: Path) -> None:
    """On POSIX the program has the process id of `run`: whoever waits for one, or signals it, has the other."""
    code = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    line = [sys.executable, "-m", "agentops_local.cli", "run", "--", sys.executable, "-c", code]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM


@needs_posix
@pytest.mark.parametrize("name", ["PIPE", "INT", "TERM", "HUP"])
def test_signals_do_in_the_program_what_they_always_do(project: Path, name: str) -> None:
    """A signal that Python handles or ignores in its own process has its usual effect on the program."""
    done = run("--", "sh", "-c", f"kill -{name} $$; echo still here")
    assert (done.returncode, done.stdout) == (-signal.Signals[f"SIG{name}"], "")


def test_missing_program_is_told(project: Path) -> None:
    """A program that cannot be found is named, and the exit code is the shell's, 127."""
    done = run("--", "no-such-program", "--fast")
    assert done.returncode == 127
    assert done.stderr == "agentops-local run: no-such-program: there is no such program\n"


@needs_posix
def test_program_without_the_right_to_run_is_told(project: Path) -> None:
    """A file that cannot be executed is named, and the exit code is the shell's, 126."""
    (project / "agent.py").write_text("")
    done = run("--", "./agent.py")
    assert done.returncode == 126
    assert done.stderr.startswith("agentops-local run: ./agent.py: cannot be executed (")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no command is given"),
        (["--"], "no command is given"),
        (["--session", "x", "--", "true"], "'x' is neither 'new' nor the UUID of a session"),
        (["--session"], "requires an argument"),
    ],
)
def test_wrong_use_is_told(project: Path, arguments: list[str], words: str) -> None:
    """Wrong use ends with exit code 2 and a sentence that says what is wrong; nothing is started or made."""
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert list(project.iterdir()) == []


@pytest.mark.parametrize("code", [0, 5])
def test_without_exec_the_program_is_waited_for(project: Path, code: int) -> None:
    """Where there is no exec, as on Windows, `run` waits for the program and ends with its exit code."""
    program = f"""
import os, sys
from agentops_local.cli.run import _wait
sys.exit(_wait((sys.executable, "-c", "raise SystemExit({code})"), dict(os.environ)))
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == code
