// SPDX-License-Identifier: GPL-2.0
// What a random overwrite costs a group that is full: cells written to the drives for each cell the user wrote, parity, headers and metadata included,
// once the garbage collector has found its rhythm. And how long writes wait for it, in the simulator's time.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace pav::sim {

struct AmplificationOptions {
	unsigned int data_drives = 16;
	uint64_t segments = 2048, segment_blocks = 16;
	unsigned int reserve_percent = 25;	// of all data cells: never in use
	unsigned int fill_percent = 100;	// of what the reserve leaves
	unsigned int queue_depth = 64, streams = 2, cache_nodes = 16384;
	uint64_t seed = 1;
	double overwrites = 5, measured = 1;	// times what is mapped: first, and then with a look at the counters
	// So many percent of the writes go to the first so many percent of the volume: 100/100 is uniform.
	unsigned int hot_writes = 100, hot_space = 100;
	unsigned int rotten_percent = 0;	// of the headers on two drives, once the group is full
};

struct Amplification {
	double total = 0;			// cells written to all drives, for each of the user's
	std::map<std::string, double> parts;	// the same by what they hold
	uint64_t mapped_cells = 0, segment_cells = 0, writes = 0;
	uint64_t checkpoints = 0, emptied = 0;
	double victim_live = 0;			// of a segment that was emptied, the part that was alive
	double p50_us = 0, p99_us = 0, p999_us = 0, max_us = 0;
	double kiops = 0;			// in the simulator's time
};

// Ends the process by fail() if anything goes wrong.
Amplification measure_amplification(const AmplificationOptions &options);

}  // namespace pav::sim
