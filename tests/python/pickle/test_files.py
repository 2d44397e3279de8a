"""dump, load, Pickler and Unpickler."""

import io
import os
import pickle
import tempfile

import ergon.pickle as ep
import pytest

SPECIAL = ["special"]


class WithIds(ep.Pickler):
    def persistent_id(self, obj):
        return "the special one" if obj is SPECIAL else None


class FromIds(ep.Unpickler):
    def persistent_load(self, pid):
        assert pid == "the special one"
        return SPECIAL


def test_dump_load_many_from_one_file():
    file = io.BytesIO()
    for i in range(5):
        ep.dump([i] * i, file)
    pickle.dump({"last": 1}, file, 0)
    file.write(b"rest")
    file.seek(0)
    assert [ep.load(file) for _ in range(6)] == [[], [1], [2, 2], [3] * 3, [4] * 4, {"last": 1}]
    assert file.read() == b"rest"
    with pytest.raises(EOFError):
        ep.load(io.BytesIO())


def test_load_from_a_pipe_takes_exactly_its_bytes():
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as sink:
        for protocol in (0, 1, 2, 4, 5):
            sink.write(pickle.dumps([1, "a" * 300, {"b": 2.5}], protocol))
        sink.write(ep.dumps("x" * 10_000) + b"rest")
    with os.fdopen(reading, "rb", buffering=0) as source:
        for _ in range(5):
            assert ep.load(source) == [1, "a" * 300, {"b": 2.5}]
        assert ep.load(source) == "x" * 10_000
        assert source.read() == b"rest"


def test_persistent_ids():
    file = io.BytesIO()
    WithIds(file).dump([1, SPECIAL, {"k": SPECIAL}])
    file.seek(0)
    back = FromIds(file).load()
    assert back[1] is SPECIAL and back[2]["k"] is SPECIAL
    file.seek(0)
    with pytest.raises(ep.UnpicklingError, match="persistent"):
        ep.load(file)


def test_memo_lives_as_long_as_the_pickler():
    file, shared = io.BytesIO(), ["x"]
    pickler = ep.Pickler(file)
    pickler.dump(shared)
    pickler.dump(shared)
    middle = file.tell()
    pickler.clear_memo()
    pickler.dump(shared)
    file.seek(0)
    unpickler = ep.Unpickler(file)
    assert unpickler.load() is unpickler.load()
    assert file.tell() == middle
    assert ep.load(file) == shared


def test_reducer_override_and_dispatch_table():
    class Own:
        pass

    class Overriding(ep.Pickler):
        def reducer_override(self, obj):
            return (str, ("an Own",)) if isinstance(obj, Own) else NotImplemented

    class Table(ep.Pickler):
        dispatch_table = {Own: lambda obj: (str, ("from the table",))}

    for kind, expected in ((Overriding, "an Own"), (Table, "from the table")):
        file = io.BytesIO()
        kind(file).dump([Own(), 1])
        assert ep.loads(file.getvalue()) == [expected, 1]


def test_find_class_can_be_overridden():
    class Careful(ep.Unpickler):
        def find_class(self, module, name):
            if name == "system":
                raise ep.UnpicklingError("no")
            return super().find_class(module, name)

    assert Careful(io.BytesIO(ep.dumps(os.path.join))).load() is os.path.join
    with pytest.raises(ep.UnpicklingError, match="no"):
        Careful(io.BytesIO(ep.dumps(os.system))).load()


def test_copies_of_a_named_temporary_file_delete_nothing():
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("some text")
        file.seek(5)
        copy = ep.loads(ep.dumps([file]))[0]
        assert (copy.read(), copy.tell(), file.tell()) == ("text", 9, 5)
        again = ep.loads(ep.dumps(file, files="reopen"))
        assert again.name == file.name and again.read() == "text"
        again.close()
        del copy, again
        assert os.path.exists(file.name)
    with tempfile.NamedTemporaryFile("w") as file:
        with pytest.raises(ep.PicklingError, match=r"obj\['f'\].*not opened for reading"):
            ep.dumps({"f": file})
        with pytest.raises(ep.PicklingError, match="deletes a file"):
            ep.dumps([file._closer])
        assert os.path.exists(file.name)
