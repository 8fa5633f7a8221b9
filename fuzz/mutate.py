"""Changes of sound inputs: bytes, numbers, words, pieces, and splices of two inputs."""

import random
import re

# What parsers stumble over: limits of numbers, separators, brackets, other encodings.
WORDS = (
    b"0", b"-1", b"1e999", b"-1e308", b"nan", b"inf", b"1e-320", b"99999999999999999999", b"1/0",
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", "½Å".encode(), b"\r", b"\n\n", b"\t", b"'", b'"', b";",
    b"#", b"{", b"}", b"[", b"]", b"(", b")", b"&a", b"*a", b"!!python/object:os.system", b"<<: ",
    b"loop_", b"data_", b"_cell_length_a", b"?", b".", b"x,y,z", b"Uue", b"D", b"True", b"null",
    b"Lattice=", b"Properties=", b"@class", b"../../", b"[" * 500, b"{" * 500, b"a: " * 200,
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+\.?\d*(?:[eE][-+]?\d+)?")


def mutate(data: bytes, pool: list[bytes], dice: random.Random, most: int = 1 << 16) -> bytes:
    """Return the input after one to eight random changes, at most so many bytes long.

    Parameters
    ----------
    data
        Where to begin.
    pool
        Inputs that pieces are taken from.
    dice
        Decides.
    most
        Longest result, bytes.
    """
    changed = bytearray(data)
    for _ in range(1 + min(dice.getrandbits(3), dice.getrandbits(3))):
        _CHANGES[dice.randrange(len(_CHANGES))](changed, pool, dice)
    return bytes(changed[:most])


def _place(data: bytearray, dice: random.Random) -> int:
    return dice.randrange(len(data) + 1)


def _flip(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _byte(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] = dice.randrange(256)


def _word(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    at = _place(data, dice)
    word = dice.choice(WORDS)
    data[at : at + (len(word) if dice.random() < 0.5 else 0)] = word


def _number(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    found = list(NUMBER.finditer(data[: 1 << 14]))
    if found:
        one = dice.choice(found)
        data[one.start() : one.end()] = dice.choice((*WORDS[:9], b"1", b"2", b"1000000000"))


def _delete(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    at = _place(data, dice)
    del data[at : at + dice.randrange(1, 1 + max(1, len(data) // 4))]


def _repeat(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    at = _place(data, dice)
    data[at:at] = data[at : at + dice.randrange(1, 200)] * dice.randrange(1, 30)


def _line(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    data[:] = b"\n".join(lines)


def _cut(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    del data[_place(data, dice) :]


def _splice(data: bytearray, pool: list[bytes], dice: random.Random) -> None:
    other = dice.choice(pool)
    start = dice.randrange(len(other) + 1)
    at = _place(data, dice)
    piece = other[start : start + dice.randrange(1, 400)]
    data[at : at + (len(piece) if dice.random() < 0.5 else 0)] = piece


_CHANGES = (_flip, _byte, _word, _number, _number, _delete, _repeat, _line, _cut, _splice)
