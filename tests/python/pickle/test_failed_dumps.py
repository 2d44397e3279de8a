"""A Pickler one of whose dumps fails: what was not written is written by the next."""

import io
import pickle

import ergon.pickle as ep
import pytest


class Refused:
    def __reduce__(self):
        raise ValueError("not this one")


def make(limit):
    class Local:
        size = limit

    def below(x):
        return x < LIMIT + limit, Local.size

    return below, Local


LIMIT = 10


def load_all(file):
    file.seek(0)
    unpickler = ep.Unpickler(file)
    found = []
    while True:
        try:
            found.append(unpickler.load())
        except EOFError:
            return found


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_was_lost_is_written_again(protocol):
    file = io.BytesIO()
    pickler = ep.Pickler(file, protocol)
    text, pair, shared = "".join(["a", "text"]), ("one", 2.5, (3, "one")), ["list"]
    kept = [text, shared, (1, "kept")]
    pickler.dump(kept)
    lost = [bytes(b"lost"), pair, "lost too", frozenset(["f"]), {"k": pair}, *(("t", i) for i in range(100))]
    for _ in range(2):
        with pytest.raises(ValueError, match="not this one"):
            pickler.dump([kept, lost, Refused()])
    pickler.dump([lost, kept, lost, "lost too", ("t", 5), (1, "kept")])
    first, second = load_all(file)
    assert first == kept and second == [lost, kept, lost, "lost too", ("t", 5), (1, "kept")]
    assert second[1] is first and second[0] is second[2] and second[5] is first[2]
    file.seek(0)
    plain = pickle.Unpickler(file)
    assert [plain.load(), plain.load()] == [first, second]


def test_functions_and_classes_that_were_lost_are_written_again():
    file = io.BytesIO()
    pickler = ep.Pickler(file)
    earlier, other = make(1)
    below, local = make(3)
    pickler.dump(earlier)
    with pytest.raises(ValueError):
        pickler.dump([below, local(), local, Refused()])
    pickler.dump([below, local(), local, earlier])
    first, (second, instance, cls, again) = load_all(file)
    assert second(12) == (True, 3) and second(13) == (False, 3) and type(instance) is cls and cls.size == 3
    assert again is first and again(11) == (False, 1)


class Full(io.BytesIO):
    full = False

    def write(self, data):
        if self.full:
            raise OSError("no space")
        return super().write(data)


def test_what_the_file_did_not_take_is_written_again():
    file = Full()
    pickler = ep.Pickler(file)
    value = ["text", ("pair", 1)]
    pickler.dump("text")
    file.full = True
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            pickler.dump(value)
    file.full = False
    pickler.dump(value)
    assert load_all(file) == ["text", value]
