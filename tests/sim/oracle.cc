// SPDX-License-Identifier: GPL-2.0
#include "oracle.h"

#include "prng.h"

#include <algorithm>
#include <cstring>

namespace pav::sim {

namespace {

constexpr uint64_t stamp_magic = 0x31764554534d4953;	// "SIMSTEv1" of sorts

struct Head {
	uint64_t magic, volume, lba, version;
};

// Four generators side by side: one alone waits for its own multiplications.
void fill(std::span<uint8_t> out, const Head &head)
{
	const uint64_t seed = mix64(head.volume ^ mix64(head.lba ^ mix64(head.version)));
	uint64_t a = seed, b = mix64(seed), c = mix64(seed + 1), d = mix64(seed + 2);
	const auto next = [&out](uint64_t &x, size_t at) {
		x = x * 6364136223846793005 + 1442695040888963407;
		std::memcpy(out.data() + at, &x, sizeof x);
	};

	static_assert(sizeof head == 4 * sizeof a);
	std::memcpy(out.data(), &head, sizeof head);
	for (size_t i = sizeof head; i + sizeof head <= out.size(); i += sizeof head) {
		next(a, i);
		next(b, i + 8);
		next(c, i + 16);
		next(d, i + 24);
	}
}

std::string number(uint64_t n)
{
	return std::to_string(n);
}

}  // namespace

void stamp_cell(std::span<uint8_t> cell, uint64_t volume, uint64_t lba, VersionId version)
{
	fill(cell, {stamp_magic, volume, lba, version});
}

std::optional<Stamp> read_stamp(std::span<const uint8_t> cell)
{
	uint8_t expected[4096];
	Head head;

	std::memcpy(&head, cell.data(), sizeof head);
	if (head.magic != stamp_magic || cell.size() != sizeof expected)
		return {};
	fill(expected, head);
	if (std::memcmp(expected, cell.data(), sizeof expected) != 0)
		return {};
	return Stamp{head.volume, head.lba, head.version};
}

bool is_zero(std::span<const uint8_t> cell)
{
	return cell[0] == 0 && std::memcmp(cell.data(), cell.data() + 1, cell.size() - 1) == 0;
}

VolumeOracle::Versions &VolumeOracle::at(uint64_t lba)
{
	auto [it, fresh] = cells_.try_emplace(lba);

	if (fresh)
		it->second.push_back({.id = 0, .zero = true, .begins = 0, .over = 0, .history = never, .in_flight = false});
	return it->second;
}

// Whatever was over by @over_by is history for reads from @from on, but for version @except, and, if @except_zeroes, for zeroes. @unless_cut: an unmap
// in flight from which this follows; 0: it follows anyway.
void VolumeOracle::supersede(Versions &versions, Time over_by, Time from, VersionId except, bool except_zeroes, VersionId unless_cut)
{
	for (Version &v : versions) {
		if (v.over > over_by || v.id == except || (except_zeroes && v.zero))
			continue;
		if (!unless_cut) {
			v.history = std::min(v.history, from);
		} else if (from < v.unless_cut) {
			v.unless_cut = from;
			v.because = unless_cut;
		}
	}
}

void VolumeOracle::prune(Versions &versions, Time oldest_read)
{
	std::erase_if(versions, [oldest_read](const Version &v) { return v.history <= oldest_read && v.over <= oldest_read; });
}

void VolumeOracle::write_begins(const Write &w)
{
	for (uint64_t lba = w.lba; lba < w.lba + w.cells; lba++) {
		Versions &versions = at(lba);

		if (versions.size() > 8)
			prune(versions, oldest_read_);
		versions.push_back({.id = w.version, .zero = w.zero, .begins = w.began, .over = never, .history = never});
		if (w.alternative)
			versions.push_back({.id = w.alternative, .zero = w.zero, .begins = w.began, .over = never, .history = never});
	}
}

void VolumeOracle::write_ends(const Write &w, bool acknowledged, Time now)
{
	for (uint64_t lba = w.lba; lba < w.lba + w.cells; lba++) {
		Versions &versions = at(lba);

		for (Version &v : versions) {
			if (v.id == w.version || (w.alternative && v.id == w.alternative)) {
				v.over = std::min(v.over, now);
				// An unmap that failed may have been seen all the same; only a cut tells whether it stays.
				v.in_flight = w.zero && !acknowledged;
			}
			if (acknowledged && v.because == w.version)
				v.history = v.from();
		}
		if (acknowledged)
			supersede(versions, w.began, now, w.version, false);
	}
}

std::optional<std::string> VolumeOracle::read_ends(uint64_t lba, std::span<const uint8_t> cell, Time began, Time ended)
{
	const std::string where = "volume " + number(uid_) + " cell " + number(lba) + ": ";
	const bool zero = is_zero(cell);
	std::optional<Stamp> stamp;

	if (!zero) {
		stamp = read_stamp(cell);
		if (!stamp)
			return where + "garbage, no version of any cell";
		if (stamp->volume != uid_ || stamp->lba != lba)
			return where + "holds cell " + number(stamp->lba) + " of volume " + number(stamp->volume) + ", version " + number(stamp->version);
	}
	if (zero && !cells_.count(lba))
		return {};	// never touched
	Versions &versions = at(lba);
	Version *only = nullptr;
	size_t matches = 0;
	VersionId unless_cut = 0;

	for (Version &v : versions) {
		if (zero ? !v.zero : v.id != stamp->version)
			continue;
		if (v.from() > began && v.begins <= ended) {
			only = &v;
			matches++;
			if (v.zero && v.in_flight)
				unless_cut = v.id;
		}
	}
	if (matches == 0) {
		std::string legal_ones;

		for (const Version &v : versions)
			if (v.from() > began)
				legal_ones += (legal_ones.empty() ? "" : ", ") + (v.zero ? "zeroes (" + number(v.id) + ")" : number(v.id));
		return where + (zero ? "zeroes" : "version " + number(stamp->version)) + " is stale or was never written; legal: " + legal_ones;
	}
	supersede(versions, began, ended, zero ? 0 : only->id, zero, unless_cut);
	if (zero && matches == 1) {
		// It is known which zeroes these are.
		supersede(versions, began, ended, only->id, false, unless_cut);
		only->over = std::min(only->over, ended);
	} else if (!zero) {
		only->over = std::min(only->over, ended);
	}
	return {};
}

void VolumeOracle::cut(Time now)
{
	for (auto &[lba, versions] : cells_) {
		for (Version &v : versions) {
			v.over = std::min(v.over, now);
			v.in_flight = false;
			v.unless_cut = never;
			v.because = 0;
		}
		prune(versions, now);
	}
}

bool VolumeOracle::surely_mapped(uint64_t lba, unsigned int cells, Time began) const
{
	for (const uint64_t end = lba + cells; lba < end; lba++) {
		const auto it = cells_.find(lba);

		if (it == cells_.end() || std::any_of(it->second.begin(), it->second.end(), [=](const Version &v) { return v.zero && v.from() > began; }))
			return false;
	}
	return true;
}

std::optional<uint64_t> VolumeOracle::next_touched(uint64_t from) const
{
	const auto it = cells_.lower_bound(from);

	return it == cells_.end() ? std::nullopt : std::optional(it->first);
}

size_t VolumeOracle::versions() const
{
	size_t n = 0;

	for (const auto &[lba, versions] : cells_)
		n += versions.size();
	return n;
}

bool VolumeOracle::legal(uint64_t lba, VersionId version, Time began) const
{
	const auto it = cells_.find(lba);

	if (it == cells_.end())
		return version == 0;
	return std::any_of(it->second.begin(), it->second.end(), [=](const Version &v) { return v.id == version && v.from() > began; });
}

}  // namespace pav::sim
