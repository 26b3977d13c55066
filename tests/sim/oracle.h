// SPDX-License-Identifier: GPL-2.0
// What a volume may answer. Knows every version of every cell that was ever written, and nothing of how the engine works.
//
// A version is one write (or unmap) of one cell, with the times of its beginning and its end. It takes effect at one moment between the two, or, if it
// failed or the power was cut, at such a moment or never. From this alone follows when a version has become history:
//   - "u is acknowledged": whatever was over before u began is history;
//   - "a read returned u": whatever was over before that read began is history, u excepted. A version is also over, in this sense, once a read
//     that ended has returned it.
// History returned by a read that began later is an error. Nothing in this speaks of crashes: a cut is merely the end of all that was in flight. That what
// was read once stays, over any number of crashes, follows. One exception: an unmap may be seen before it is durable. What only a read of an unmap in
// flight has made history comes back if the power is cut before that unmap is acknowledged.
//
// Times are counted by the oracle itself, one for each beginning and end.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pav::sim {

using Time = uint64_t;
using VersionId = uint64_t;	// unique in a run; 0: zeroes that nobody wrote

// The content of a cell: says where it belongs and which version it is, and fills the rest of the 4 KiB from that.
void stamp_cell(std::span<uint8_t> cell, uint64_t volume, uint64_t lba, VersionId version);

struct Stamp {
	uint64_t volume, lba;
	VersionId version;
};
// What is in a cell. Nothing: neither a whole stamp nor zeroes.
std::optional<Stamp> read_stamp(std::span<const uint8_t> cell);
bool is_zero(std::span<const uint8_t> cell);

class VolumeOracle {
public:
	explicit VolumeOracle(uint64_t uid) : uid_(uid) {}

	uint64_t uid() const { return uid_; }

	// A write or unmap of @cells at @lba that has begun; one version a cell, of the same number. @alternative: one that may be there in its place,
	// because the user changes his memory meanwhile; 0: none. @zero: an unmap.
	struct Write {
		uint64_t lba;
		unsigned int cells;
		VersionId version, alternative;
		bool zero;
		Time began;
	};
	void write_begins(const Write &w);
	// @acknowledged: or else it failed, and may have taken effect or not
	void write_ends(const Write &w, bool acknowledged, Time now);

	// Is @cell a legal answer for @lba to a read from @began to @ended? If so, what follows from it is remembered. Otherwise says what is wrong.
	std::optional<std::string> read_ends(uint64_t lba, std::span<const uint8_t> cell, Time began, Time ended);
	// Reads that began at this time or later are all that may still be checked: what was history before it will be forgotten.
	void forget_before(Time oldest_read) { oldest_read_ = oldest_read; }
	// The power was cut, and all in flight has ended.
	void cut(Time now);

	// Did all of these cells hold something a write put there, from @began until now, whatever took effect and when?
	bool surely_mapped(uint64_t lba, unsigned int cells, Time began) const;

	// Cells that were ever touched, from @from on, for reading everything back: the next one, or nothing.
	std::optional<uint64_t> next_touched(uint64_t from) const;
	size_t versions() const;
	// For tests: may @version (0: zeroes) be read by a read that begins at @began?
	bool legal(uint64_t lba, VersionId version, Time began) const;

private:
	static constexpr Time never = UINT64_MAX;

	struct Version {
		VersionId id;
		bool zero;
		Time begins, over, history;	// over: it took effect before this, or never will. history: a read from then on must not return it
		bool in_flight = true;
		Time unless_cut = never;	// history from here on, unless the power is cut before unmap @because is acknowledged
		VersionId because = 0;

		Time from() const { return history < unless_cut ? history : unless_cut; }
	};
	using Versions = std::vector<Version>;

	Versions &at(uint64_t lba);
	static void prune(Versions &versions, Time oldest_read);
	static void supersede(Versions &versions, Time over_by, Time from, VersionId except, bool except_zeroes, VersionId unless_cut = 0);

	uint64_t uid_;
	Time oldest_read_ = 0;
	std::map<uint64_t, Versions> cells_;	// by lba; not there: never touched
};

}  // namespace pav::sim
