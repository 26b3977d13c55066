// SPDX-License-Identifier: GPL-2.0
// What a seed decides before anything runs: the group's shape, what users do, and which faults there will be.
//
// Faults strike at most two drives, chosen here: the "suspects". So no stripe ever has more than two bad cells at once, whatever happens to which drive
// at which time, and everything must survive. Only where the plan says "third loss" one more drive is pulled in the end.
#pragma once

#include "drive.h"
#include "prng.h"

#include <string>
#include <vector>

namespace pav::sim {

struct Plan {
	explicit Plan(uint64_t seed);
	// A small group without faults, for the exhaustive mode; @round varies it.
	static Plan small(uint64_t round);
	// What is done to it, by turns.
	enum class Script {
		spare,		// a drive vanishes, and a spare takes over
		steps,		// a few writes and changes
		full,		// the garbage collector works
		loss,		// a drive vanishes, and there is none to take over
		spread,		// segments are renewed, and the map changes in more places than a recovery can hold before it needs a checkpoint of its own
	};
	static constexpr unsigned int scripts = 5;
	static Script script_of(uint64_t round) { return static_cast<Script>(round % scripts); }
	// From now on every seed lingers, and at these places; none: as it chooses.
	static void linger_at(std::vector<std::string> places);
	std::string describe() const;
	void set_engine_parameters() const;	// of the whole process: each seed must, or it would have those of the one before

	// ---- group ----
	unsigned int data_drives, drives, spares;
	uint64_t segment_blocks, drive_blocks;
	bool volatile_cache;
	bool discards = true;			// drives that can discard, most of them
	unsigned int reserve_percent;
	unsigned int streams, cache_nodes;
	unsigned int heartbeat_ms;		// of the owner stamp

	// ---- the computer ----
	Latency latency;
	unsigned int preemption;		// mean points between two; 0: none
	uint64_t preemption_ns;			// how long it takes: other CPUs do much meanwhile, or little
	std::vector<std::string> sticky;	// places of the engine's sources where one in so many is put aside; two hosts: not
	unsigned int sticky_one_in = 0;
	uint64_t sticky_ns = 0;			// for how long
	unsigned int alloc_failure;		// in some incarnations, once in so many
	unsigned int shorn_percent;		// of what a cut leaves: some sectors new, some old
	unsigned int cut_keep_percent;		// of the blocks whose fate is open

	// ---- users ----
	unsigned int max_volumes;
	unsigned int users;			// requests in flight
	unsigned int write_percent, unmap_percent;
	unsigned int large_percent, sequential_percent, hot_percent, unstable_percent;
	uint64_t think_ns;
	unsigned int process_percent;		// of requests come from a process, the others from where nothing may sleep
	uint64_t control_ns;			// mean time between two control operations
	bool huge_volumes;
	unsigned int churn;			// > 0: so many MiB of each volume are in use, about as much as the group can hold, and written again and again
	unsigned int spread;			// > 0: so many MiB of each volume are in use, more than the map's cache holds

	unsigned int verify_holes_percent;	// of the places where nothing was written: read back all the same

	// ---- lives ----
	unsigned int incarnations;
	uint64_t requests_a_life;		// mean
	unsigned int orderly_percent;		// closed, rather than cut
	unsigned int cut_in_open_percent;

	// ---- faults ----
	std::vector<unsigned int> suspects;	// numbers of drives
	bool vanish, rot, bad_blocks, absent, hang;
	unsigned int suspects_slower;		// so many times as slow as the others
	bool hiccups;				// now and then all drives hang, and then go on
	bool clock_jumps;			// of the wall clock
	FaultRates rates;
	bool third_loss;
	bool quick_loss;	// only where there were no other faults
	bool returns;		// drives that vanished are plugged in again while the group is open; where all is whole again, others are the suspects
	// Do drives come to hold what was never written there, unnoticed? Then only reading tells what is missing.
	bool secret_harm() const { return rot || bad_blocks || rates.lost_write || rates.misdirected_write; }
	unsigned int newcomers;			// drives that are there, and in no group yet: members come and go
	unsigned int error_limit;		// cells of a drive healed before it is failed; 0: never
	unsigned int stall_limit;		// beats that a drive may leave out before it is failed; 0: for ever
	unsigned int rebuild_rate;		// MiB a second; 0: no limit
	bool drop_pair_at_end;			// verify once more without two drives
};

}  // namespace pav::sim
