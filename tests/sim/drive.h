// SPDX-License-Identifier: GPL-2.0
// A simulated drive: blocks of 4 KiB, a volatile cache if it has one, and all the ways in which drives fail. It outlives the machine it is plugged into.
//
// What a power cut leaves of a block:
//  - its newest durable content: of a completed write with FUA, of one followed by a completed flush, of any completed one if there is no cache;
//  - or, as the seed decides for each block by itself, any newer content: of a completed write that was still in the cache, or of a write that had not
//    completed. So a write of several blocks may be torn in any way.
#pragma once

#include "engine_c.h"
#include "prng.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace pav::sim {

constexpr size_t cell_bytes = PAV_CELL_BYTES;
constexpr uint64_t superblocks_end = 256;	// what lies below is no segment
using Cell = std::array<uint8_t, cell_bytes>;
using CellRef = std::shared_ptr<const Cell>;	// null: zeroes

constexpr unsigned int sectors = 8;	// of a block: what a drive writes at once for certain
// @old with the sectors of @which (a bit each) replaced by those of @now.
CellRef shorn_cell(const CellRef &old, const CellRef &now, unsigned int which);

// How long things take, in ns, and how often an I/O completes before the call that starts it returns.
struct Latency {
	uint64_t read = 60'000, write = 20'000, flush = 200'000;
	unsigned int inline_percent = 0;
	unsigned int superblocks = 1;	// they take so many times as long
	unsigned int slow = 0;	// one in so many takes a hundred times as long; 0: none
	uint64_t unheard = 0;	// its interrupts are lost: the host looks so long after each command began, and finds it done
};

// Faults that strike by chance, once in so many commands; 0: never.
struct FaultRates {
	unsigned int read_error = 0, write_error = 0, lost_write = 0, misdirected_write = 0;
};

struct DriveStats {
	uint64_t reads = 0, writes = 0, flushes = 0, discards = 0, read_cells = 0, write_cells = 0, inline_completions = 0;
	uint64_t read_errors = 0, write_errors = 0, lost_writes = 0, misdirected_writes = 0, rotten = 0, bad_blocks = 0, vanished = 0;
	uint64_t hangs = 0, timed_out = 0;
	uint64_t cut_kept = 0, cut_dropped = 0, cut_shorn = 0;	// blocks whose fate a power cut decided
};

class Drive {
public:
	Drive(unsigned int number, uint64_t blocks, bool volatile_cache)
		: name_("d" + std::to_string(number)), number_(number), volatile_(volatile_cache), media_(blocks)
	{
	}

	const std::string &name() const { return name_; }
	uint64_t blocks() const { return media_.size(); }
	bool has_volatile_cache() const { return volatile_; }
	bool gone() const { return gone_; }
	const DriveStats &stats() const { return stats_; }
	size_t commands_in_flight() const { return commands_.size(); }

	struct Command {
		pav_io_op op;
		uint64_t block;
		unsigned int cells;
		bool fua;
		const void *from;			// write: the caller's memory, to see that it stays as it was
		void *into;				// read
		std::function<void(int error)> done;

		std::vector<CellRef> data;		// write: as submitted
		uint64_t order = 0;			// flush: covers what completed before
		int error = 0;				// decided before completion
		const void *host = nullptr;		// the machine it came from
		bool landed = false;			// done on the drive; the host does not know yet
	};
	// Starts a command; @done runs once, perhaps before this returns.
	void submit(Command command);

	// ---- faults ----
	// @shorn_percent of the blocks that get there do so in part: some sectors new, some old.
	void power_cut(Rng &rng, unsigned int keep_percent, unsigned int shorn_percent = 0);
	// Of two machines at the drive one has died: its commands end, done or not. Or it stands still: its commands are done, and it learns of it when it goes on.
	void host_died(const void *host, Rng &rng);
	void land(const void *host, Rng &rng);
	void vanish(Rng &rng);			// pulled: a power cut of its own; each command fails with -ENODEV until plug()
	void plug() { gone_ = false; }
	void rot(uint64_t block, Rng &rng);	// flips bits at rest
	void make_unreadable(uint64_t block);	// reads fail until it is written
	bool unreadable(uint64_t block) const { return unreadable_.count(block) != 0; }
	// Nothing completes until @until_ns. Then all that waited does: as if it had only been slow, or, @reset, with an error, as when the host gives up
	// and resets the drive; what was written by then nobody knows. A command that hangs for ever is one whose host gives up late.
	void hang(uint64_t until_ns, bool reset);
	bool hangs() const;
	// There are commands that its host has given up, or will.
	bool gives_up() const { return hangs() || (!commands_.empty() && commands_.begin()->first < reset_below_); }
	// There are writes that have failed, and their host does not know yet; or has known for less than @since_ns: what was written together is judged together.
	bool has_failed(uint64_t since_ns) const;
	void starts() { hangs_until_ns_ = write_failed_ns_ = 0; }	// with its machine, whose time begins anew
	bool written(uint64_t block) const { return media_[block] != nullptr || cache_.count(block) != 0; }
	uint64_t written_below(uint64_t limit, Rng &rng) const;	// some block that holds something, or @limit

	bool discards = true;	// it says it can
	Latency latency;
	FaultRates rates;
	std::function<void(const Command &)> on_submit;	// the world's checks

	// ---- for who chooses himself what a power cut leaves ----
	// One write or discard that is not durable: it may be on the drive after a cut, or not, or some of its blocks.
	struct Unflushed {
		std::vector<std::pair<uint64_t, CellRef>> cells;	// block, content
	};
	std::vector<Unflushed> unflushed() const;	// in the order in which the newer covers the older
	const std::vector<CellRef> &durable() const { return media_; }
	uint64_t activity() const { return activity_; }	// commands submitted and completed

	// What a read would return now; null: zeroes. For tests and checkers.
	const CellRef &peek(uint64_t block) const;	// until the next command completes
	// A copy of everything at rest, for "was anything written?" and for stale drives. No command may be in flight.
	std::vector<CellRef> snapshot() const;
	void restore(std::vector<CellRef> content);

private:
	struct Cached {
		uint64_t order;
		CellRef data;
		uint64_t command;
	};
	void complete(uint64_t id);
	void apply(uint64_t block, const CellRef &data, bool durable, uint64_t command = 0);
	void forget(const Command &command, uint64_t id, Rng &rng);
	void write_completes(Command &command, uint64_t id);
	void leave_undecided();				// what is in flight becomes content that may or may not have got there
	void settle(uint64_t block, Rng &rng, unsigned int keep_percent, unsigned int shorn_percent);

	std::string name_;
	unsigned int number_;
	bool volatile_, gone_ = false;
	std::vector<CellRef> media_;			// durable
	std::map<uint64_t, std::vector<Cached>> cache_;	// completed, not durable; oldest first
	std::set<uint64_t> unreadable_;
	std::map<uint64_t, Command> commands_;		// in flight, by number
	uint64_t next_command_ = 1, order_ = 1, activity_ = 0;
	uint64_t write_failed_ns_ = 0;
	uint64_t hangs_until_ns_ = 0, reset_below_ = 0;	// commands with a lower number than that are given up
	DriveStats stats_;
};

}  // namespace pav::sim
