/* SPDX-License-Identifier: GPL-2.0 */
/* Made by gen_tables.py; see there. */
#ifndef PAV_RAID6_CRC_TABLES_H
#define PAV_RAID6_CRC_TABLES_H

/* CRC_BYTE_j(x): the state x, a byte, after j + 1 zero bytes. Linear in x. */
#define CRC_BYTE_0(x) CRC_LINEAR(x, \
	0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, \
	0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78)
#define CRC_BYTE_1(x) CRC_LINEAR(x, \
	0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, \
	0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9)
#define CRC_BYTE_2(x) CRC_LINEAR(x, \
	0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, \
	0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743)
#define CRC_BYTE_3(x) CRC_LINEAR(x, \
	0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, \
	0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f)
#define CRC_BYTE_4(x) CRC_LINEAR(x, \
	0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, \
	0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c)
#define CRC_BYTE_5(x) CRC_LINEAR(x, \
	0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, \
	0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6)
#define CRC_BYTE_6(x) CRC_LINEAR(x, \
	0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, \
	0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4)
#define CRC_BYTE_7(x) CRC_LINEAR(x, \
	0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, \
	0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664)

/* The same after 1360 zero bytes, x being byte j of the state. */
#define CRC_LONG 1360
#define CRC_LONG_0(x) CRC_LINEAR(x, \
	0x79113270, 0xf22264e0, 0xe1a8bf31, 0xc6bd0893, \
	0x889667d7, 0x14c0b95f, 0x298172be, 0x5302e57c)
#define CRC_LONG_1(x) CRC_LINEAR(x, \
	0xa605caf8, 0x49e7e301, 0x93cfc602, 0x2273faf5, \
	0x44e7f5ea, 0x89cfebd4, 0x1673a159, 0x2ce742b2)
#define CRC_LONG_2(x) CRC_LINEAR(x, \
	0x59ce8564, 0xb39d0ac8, 0x62d66361, 0xc5acc6c2, \
	0x8eb5fb75, 0x1887801b, 0x310f0036, 0x621e006c)
#define CRC_LONG_3(x) CRC_LINEAR(x, \
	0xc43c00d8, 0x8d947741, 0x1ec49873, 0x3d8930e6, \
	0x7b1261cc, 0xf624c398, 0xe9a5f1c1, 0xd6a79573)

/* The same after 336 zero bytes, x being byte j of the state. */
#define CRC_SHORT 336
#define CRC_SHORT_0(x) CRC_LINEAR(x, \
	0x8f158014, 0x1bc776d9, 0x378eedb2, 0x6f1ddb64, \
	0xde3bb6c8, 0xb99b1b61, 0x76da4033, 0xedb48066)
#define CRC_SHORT_1(x) CRC_LINEAR(x, \
	0xde85763d, 0xb8e69a8b, 0x742143e7, 0xe84287ce, \
	0xd569796d, 0xaf3e842b, 0x5b917ea7, 0xb722fd4e)
#define CRC_SHORT_2(x) CRC_LINEAR(x, \
	0x6ba98c6d, 0xd75318da, 0xab4a4745, 0x5378f87b, \
	0xa6f1f0f6, 0x480f971d, 0x901f2e3a, 0x25d22a85)
#define CRC_SHORT_3(x) CRC_LINEAR(x, \
	0x4ba4550a, 0x9748aa14, 0x2b7d22d9, 0x56fa45b2, \
	0xadf48b64, 0x5e056039, 0xbc0ac072, 0x7df9f615)

/* Factors that move a state on by so many bytes; see crc_fold.h. */
#define CRC_FOLD_32_LOW 0x33ccbbbc00000000ull
#define CRC_FOLD_32_HIGH 0xa2158b3400000000ull
#define CRC_FOLD_64_LOW 0x1c19243b00000000ull
#define CRC_FOLD_64_HIGH 0x75bba45b00000000ull

#endif
