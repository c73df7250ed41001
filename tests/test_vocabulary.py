"""Names and what they lead to: ours, those of installed packages, those that a caller registered."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from joulemark import vocabulary
from joulemark.vocabulary import (
    GROUPS,
    TABLES,
    Registration,
    VocabularyError,
    import_file,
    listening,
    look_up,
    names,
    register,
    registrations,
    repeat,
)

pytestmark = pytest.mark.usefixtures("own_registrations")


@pytest.fixture
def installed(monkeypatch):
    def install(kind, **points):
        entries = [EntryPoint(name, value, GROUPS[kind]) for name, value in points.items()]
        monkeypatch.setattr(vocabulary, "entry_points", lambda *, group: entries if group == GROUPS[kind] else [])

    return install


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def net():\n    return 1\n")
    return path


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in TABLES.items() for name in table])
def test_every_name_of_ours_leads_somewhere(kind, name):
    assert look_up(kind, name) is not None


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import sys, joulemark.vocabulary as v; [v.names(k) for k in v.TABLES]; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_installed_packages_add_names_and_cannot_replace_ours(installed):
    installed("router", theirs="joulemark.nets.routers.onward:Onward", onward="os:system")
    assert names("router")["theirs"] == "joulemark.nets.routers.onward:Onward"
    assert look_up("router", "theirs") is look_up("router", "onward")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module:x", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module': repair or re"),
        ("joulemark.nets.routers.onward:Backward", "should be Backward in joulemark.nets.routers.onward: it is not"),
    ],
)
def test_what_leads_nowhere_is_said(installed, value, why):
    installed("router", theirs=value)
    with pytest.raises(VocabularyError, match=why):
        look_up("router", "theirs")


def test_an_installed_package_that_raises_or_leaves_is_said(installed, tmp_path, monkeypatch):
    (tmp_path / "leaves_at_once.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed("builder", theirs="leaves_at_once:net")
    with pytest.raises(VocabularyError, match=r"'theirs' of an installed .* \(leaves_at_once:net\).*SystemExit: 3"):
        look_up("builder", "theirs")


def test_a_registered_file_is_found_and_told(file):
    made = register("builder", "user/mine", "net", file=file)
    assert look_up("builder", "user/mine")() == 1
    assert registrations() == (made,)
    assert register("builder", "user/mine", "net", file=file) == made  # the same again is the same


def test_a_registration_is_data_that_another_process_can_repeat(file, monkeypatch):
    made = register("builder", "user/mine", "net", file=file)
    monkeypatch.setattr(vocabulary, "_registered", {})
    repeat(Registration(**vars(made)))
    assert look_up("builder", "user/mine")() == 1


def test_a_file_that_was_changed_is_refused_with_both_digests(file):
    made = register("builder", "user/mine", "net", file=file)
    file.write_text("def net():\n    return 2\n")
    with pytest.raises(VocabularyError, match=rf"mine.py, .*was changed.*digest {made.digest[:12]}, now \w{{12}}"):
        look_up("builder", "user/mine")
    with pytest.raises(VocabularyError, match=made.digest[:12]):
        repeat(made)
    with pytest.raises(VocabularyError, match=made.digest[:12]):
        register("builder", "user/mine", "net", file=file)


def test_a_child_that_finds_another_file_refuses_it(file, monkeypatch):
    made = register("builder", "user/mine", "net", file=file)
    monkeypatch.setattr(vocabulary, "_registered", {})
    file.write_text("def net():\n    return 2\n")
    with pytest.raises(VocabularyError, match=made.digest[:12]):
        repeat(made)
    assert registrations() == ()  # what was refused is not there


def test_a_file_that_is_gone_is_said(file):
    register("builder", "user/mine", "net", file=file)
    file.unlink()
    with pytest.raises(VocabularyError, match=r"mine.py', which should hold the builder 'user/mine', cannot be read: "):
        look_up("builder", "user/mine")
    with pytest.raises(VocabularyError, match="cannot be read"):
        register("builder", "other", "net", file=file)


@pytest.mark.parametrize("name", ["lenet", "user/mine"])
def test_a_name_that_is_taken_is_refused(name, file):
    register("builder", "user/mine", "net", file=file)
    with pytest.raises(VocabularyError, match=f"the builder '{name}' is .*: give other:net another name"):
        register("builder", name, "net", module="other")


@pytest.mark.parametrize("name", ["", "..", "a\n", "\x1b[31m", "x" * 65, None, 5])
def test_names_that_no_file_may_hold_are_refused(name):
    with pytest.raises(VocabularyError, match="cannot be registered with the name"):
        register("builder", name, "net", module="other")


def test_an_installed_name_is_taken_too(installed):
    installed("builder", theirs="joulemark.nets.builders.lenet:lenet")
    with pytest.raises(VocabularyError, match=r"the builder 'theirs' is joulemark.nets.builders.lenet:lenet: give"):
        register("builder", "theirs", "net", module="other")


def test_an_entry_point_may_name_a_member(installed):
    installed("builder", theirs="joulemark.nets.net:Net.new [extra]")
    assert callable(look_up("builder", "theirs"))


def test_what_cannot_be_registered():
    with pytest.raises(VocabularyError, match="unknown kind of registration 'bilder': did you mean 'builder'"):
        register("bilder", "x", "net", module="other")
    with pytest.raises(VocabularyError, match="needs either a module or a file"):
        register("builder", "x", "net")


def test_a_registered_module_that_raises_is_said(tmp_path, monkeypatch):
    (tmp_path / "divides.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    register("builder", "x", "net", module="divides")
    with pytest.raises(VocabularyError, match=r"the builder 'x' \(divides:net\) cannot be imported: ZeroDivisionError"):
        look_up("builder", "x")


def test_listeners_hear_the_modules_of_names_handed_out(file):
    register("builder", "user/mine", "net", file=file)
    with listening() as outer:
        with listening() as inner:
            look_up("builder", "user/mine")
        assert outer == inner  # equal, and not the same
        look_up("router", "onward")
    assert len(inner) == 1
    assert outer == inner | {"joulemark.nets.routers.onward"}
    look_up("router", "exactly-one")
    assert len(outer) == 2


def test_two_states_of_a_file_are_two_modules(file):
    first = import_file(file)
    assert import_file(file) is first
    file.write_text("def net():\n    return 2\n")
    assert (first.net(), import_file(file).net()) == (1, 2)


def test_a_file_that_fails_leaves_no_module_behind(tmp_path):
    broken = tmp_path / "divides_by_zero.py"
    broken.write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            import_file(broken)
    assert not [name for name in sys.modules if name.startswith("joulemark_file_divides_by_zero")]


def test_a_registered_file_that_is_gone_is_named_with_the_digest_that_it_had(file):
    made = register("builder", "user/mine", "net", file=file)
    file.unlink()
    with pytest.raises(
        VocabularyError, match=rf"cannot be read: .* \(registered with digest {made.digest[:12]}, now none\)"
    ):
        look_up("builder", "user/mine")


def test_a_live_object_takes_nobodys_name(monkeypatch):
    monkeypatch.setattr(vocabulary, "_live", {})
    with pytest.raises(VocabularyError, match="give this one another name"):
        vocabulary.register_live("metric", "accuracy", object())
    vocabulary.register_live("metric", "user/mine", "one")
    vocabulary.register_live("metric", "user/mine", "two")
    assert vocabulary.look_up("metric", "user/mine") == "two"
    with pytest.raises(VocabularyError, match="is an object of this session"):
        vocabulary.register("metric", "user/mine", "metric", module="mine")
