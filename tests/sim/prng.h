// SPDX-License-Identifier: GPL-2.0
// The simulator's only source of chance: xoshiro256**, seeded by splitmix64. Never the machine's clock, addresses or entropy.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace pav::sim {

// One step of splitmix64 as a hash: every bit of the result depends on every bit of @x.
constexpr uint64_t mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

class Rng {
public:
	explicit Rng(uint64_t seed)
	{
		for (uint64_t &word : state_)
			word = seed = mix64(seed);
	}

	uint64_t next()
	{
		const uint64_t out = std::rotl(state_[1] * 5, 7) * 9;
		const uint64_t t = state_[1] << 17;

		state_[2] ^= state_[0];
		state_[3] ^= state_[1];
		state_[1] ^= state_[2];
		state_[0] ^= state_[3];
		state_[2] ^= t;
		state_[3] = std::rotl(state_[3], 45);
		return out;
	}

	// 0 … @n - 1; @n > 0. The bias of the remainder does not matter here.
	uint64_t below(uint64_t n) { return next() % n; }
	// @lo … @hi, both included
	uint64_t range(uint64_t lo, uint64_t hi) { return lo + below(hi - lo + 1); }
	// true once in @n times; never if @n is 0
	bool one_in(uint64_t n) { return n != 0 && below(n) == 0; }
	bool percent(unsigned int p) { return below(100) < p; }
	// About @mean on the average, mostly less, now and then many times as much.
	uint64_t skewed(uint64_t mean)
	{
		uint64_t v = below(mean + 1);

		while (percent(30))
			v += below(2 * mean + 1);
		return v;
	}
	template <typename C> auto &pick(C &c) { return c[below(c.size())]; }

private:
	std::array<uint64_t, 4> state_{};
};

}  // namespace pav::sim
