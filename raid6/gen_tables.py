#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Writes gf_tables.h and crc_tables.h into the folder given. A unit test compares them
with the committed ones.

Everything here follows from two polynomials: 0x11d of the parity's field, and the
Castagnoli polynomial of CRC32C, which the bit order of that checksum turns round.
"""

import pathlib
import sys

GF_POLY = 0x11D
CRC_POLY = 0x82F63B78  # bit 31 is the coefficient of 1, bit 0 that of x^31

MAX_DATA = 30
STRIDES = {"LONG": 1360, "SHORT": 336}  # bytes of each of three interleaved streams


def gf_powers():
    x, out = 1, []
    for _ in range(255):
        out.append(x)
        x <<= 1
        if x & 0x100:
            x ^= GF_POLY
    return out


def crc_zero_bytes(crc, n):
    """The state after n zero bytes."""
    for _ in range(8 * n):
        crc = crc >> 1 ^ (CRC_POLY if crc & 1 else 0)
    return crc


def crc_power(n):
    """x^n modulo the checksum's polynomial, as the upper half of a 64-bit factor."""
    crc = 1 << 31  # x^0
    for _ in range(n):
        crc = crc >> 1 ^ (CRC_POLY if crc & 1 else 0)
    return crc << 32


def matrix(c):
    """"Times c" for GFNI: byte 7 - i of the word is the row that makes bit i."""
    word = 0
    for j in range(8):
        for i in range(8):
            word |= (c >> i & 1) << (8 * (7 - i) + j)
        c = c << 1 ^ (GF_POLY if c & 0x80 else 0)
    return word


def rows(values, fmt, per_line):
    for i in range(0, len(values), per_line):
        yield "\t" + ", ".join(fmt % v for v in values[i:i + per_line]) + ","


def linear(name, basis):
    yield "#define %s(x) CRC_LINEAR(x, \\" % name
    yield "\t" + ", ".join("0x%08x" % v for v in basis[:4]) + ", \\"
    yield "\t" + ", ".join("0x%08x" % v for v in basis[4:]) + ")"


def gf_tables():
    powers = gf_powers()
    yield "/* g^i */"
    yield "static const uint8_t gf_power[255] = {"
    yield from rows(powers, "0x%02x", 12)
    yield "};"
    yield ""
    yield "/* Zech's logarithm: 1 + g^n = g^gf_zech[n]; for n = 0 there is none */"
    yield "static const uint8_t gf_zech[PAV_RAID6_MAX_DATA] = {"
    zech = [0] + [powers.index(1 ^ powers[n]) for n in range(1, MAX_DATA)]
    yield from rows(zech, "%3d", 12)
    yield "};"


    yield ""
    yield "/* The matrix of \"times 2^i\" for GFNI; that of any c is the sum of those of its bits. */"
    yield "static const uint64_t gf_matrix[8] = {"
    yield from rows([matrix(1 << i) for i in range(8)], "0x%016xull", 3)
    yield "};"


def crc_tables():
    yield "/* CRC_BYTE_j(x): the state x, a byte, after j + 1 zero bytes. Linear in x. */"
    for j in range(8):
        yield from linear("CRC_BYTE_%d" % j,
                          [crc_zero_bytes(1 << b, j + 1) for b in range(8)])
    for name, stride in STRIDES.items():
        yield ""
        yield "/* The same after %d zero bytes, x being byte j of the state. */" % stride
        yield "#define CRC_%s %d" % (name, stride)
        for j in range(4):
            yield from linear("CRC_%s_%d" % (name, j),
                              [crc_zero_bytes(1 << 8 * j + b, stride) for b in range(8)])
    yield ""
    yield "/* Factors that move a state on by so many bytes; see crc_fold.h. */"
    for width in (32, 64):
        yield "#define CRC_FOLD_%d_LOW 0x%016xull" % (width, crc_power(8 * width + 63))
        yield "#define CRC_FOLD_%d_HIGH 0x%016xull" % (width, crc_power(8 * width - 1))


def main():
    folder = pathlib.Path(sys.argv[1])
    for name, lines in (("gf_tables", gf_tables()), ("crc_tables", crc_tables())):
        guard = "PAV_RAID6_%s_H" % name.upper()
        text = ["/* SPDX-License-Identifier: GPL-2.0 */", "/* Made by gen_tables.py; see there. */",
                "#ifndef " + guard, "#define " + guard, "", *lines, "", "#endif", ""]
        (folder / (name + ".h")).write_text("\n".join(text), encoding="ascii")


main()
