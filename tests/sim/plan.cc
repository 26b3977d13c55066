// SPDX-License-Identifier: GPL-2.0
#include "plan.h"

#include "engine_c.h"
#include "host.h"

#include <algorithm>

namespace pav::sim {

static std::vector<std::string> lingering_places;	// if they are not to be chosen from all

void Plan::linger_at(std::vector<std::string> places)
{
	lingering_places = std::move(places);
}

Plan::Plan(uint64_t seed)
{
	Rng rng(mix64(seed) ^ 0x706c616e);	// "plan"

	data_drives = rng.percent(8) ? 16 : static_cast<unsigned int>(rng.range(2, rng.percent(60) ? 4 : 8));
	drives = data_drives + 2 + (rng.percent(20) ? static_cast<unsigned int>(rng.range(1, 2)) : 0);
	spares = rng.percent(30) ? static_cast<unsigned int>(rng.range(1, 2)) : 0;
	const bool tall = rng.percent(8);	// segments that are higher than what replay looks ahead

	segment_blocks = tall ? 256 : uint64_t{16} << rng.below(3);
	// Most groups are large enough for what is written; some are not, and fill up.
	drive_blocks = 1024 + segment_blocks * (rng.percent(15) ? rng.range(24, 40) : tall ? rng.range(40, 80) : rng.range(150, 300));
	volatile_cache = rng.percent(60);
	reserve_percent = rng.percent(50) ? 0 : static_cast<unsigned int>(rng.range(10, 30));
	streams = static_cast<unsigned int>(rng.range(1, 3));
	cache_nodes = rng.percent(70) ? 64 : static_cast<unsigned int>(rng.range(64, 512));

	latency.read = rng.range(1'000, 80'000);
	latency.write = rng.range(1'000, 80'000);
	latency.flush = rng.range(1'000, 300'000);
	latency.slow = rng.percent(30) ? static_cast<unsigned int>(rng.range(20, 500)) : 0;
	latency.inline_percent = rng.percent(40) ? static_cast<unsigned int>(rng.range(1, 20)) : 0;
	latency.superblocks = rng.percent(25) ? static_cast<unsigned int>(rng.range(10, 200)) : 1;
	constexpr unsigned int preemptions[] = {0, 3, 20, 100, 1000};
	preemption = preemptions[rng.below(std::size(preemptions))];
	preemption_ns = preemption >= 20 && rng.percent(30) ? rng.range(20'000, 500'000) : 5000;
	alloc_failure = rng.percent(25) ? static_cast<unsigned int>(rng.range(3, 200)) : 0;
	constexpr unsigned int keeps[] = {0, 10, 50, 90, 100};
	cut_keep_percent = keeps[rng.below(std::size(keeps))];

	shorn_percent = rng.percent(40) ? static_cast<unsigned int>(rng.range(1, 80)) : 0;

	max_volumes = static_cast<unsigned int>(rng.range(1, 6));
	users = static_cast<unsigned int>(rng.percent(30) ? rng.range(1, 3) : rng.range(4, 32));
	write_percent = static_cast<unsigned int>(rng.range(30, 90));
	unmap_percent = rng.percent(60) ? static_cast<unsigned int>(rng.range(1, 10)) : 0;
	large_percent = rng.percent(50) ? static_cast<unsigned int>(rng.range(1, 10)) : 0;
	sequential_percent = rng.percent(40) ? static_cast<unsigned int>(rng.range(5, 60)) : 0;
	hot_percent = static_cast<unsigned int>(rng.range(0, 90));
	unstable_percent = rng.percent(30) ? 10 : 0;
	process_percent = rng.percent(50) ? 0 : rng.percent(50) ? 100 : 50;
	think_ns = rng.percent(50) ? 1'000 : rng.range(1'000, 200'000);
	control_ns = rng.range(100'000, 3'000'000);
	huge_volumes = rng.percent(25);
	spread = rng.percent(15) ? static_cast<unsigned int>(rng.range(50, 250)) : 0;

	verify_holes_percent = spread ? 1 : 20;

	incarnations = static_cast<unsigned int>(rng.range(2, 6));
	requests_a_life = spread ? rng.range(200, 1500) : rng.range(20, 400);
	if (spread) {
		cache_nodes = 64;
		hot_percent = large_percent = sequential_percent = 0;
		max_volumes = 2;
		users = static_cast<unsigned int>(rng.range(16, 64));
		control_ns *= 4;
	}
	orderly_percent = rng.percent(50) ? 20 : 50;
	cut_in_open_percent = rng.percent(50) ? 30 : 5;

	const bool faulty = rng.percent(60);
	const unsigned int all = drives + spares;

	if (faulty) {
		const unsigned int first = static_cast<unsigned int>(rng.below(all));

		suspects.push_back(first);
		if (rng.percent(75))
			suspects.push_back(static_cast<unsigned int>((first + 1 + rng.below(all - 1)) % all));
	}
	vanish = faulty && rng.percent(50);
	rot = faulty && rng.percent(50);
	bad_blocks = faulty && rng.percent(30);
	absent = faulty && rng.percent(40);
	if (faulty && rng.percent(30))
		rates.read_error = static_cast<unsigned int>(rng.range(20, 500));
	if (faulty && rng.percent(20))
		rates.write_error = static_cast<unsigned int>(rng.range(20, 1000));
	if (faulty && rng.percent(25))
		rates.lost_write = static_cast<unsigned int>(rng.range(3, 300));
	if (faulty && rng.percent(20))
		rates.misdirected_write = static_cast<unsigned int>(rng.range(10, 500));
	hang = faulty && rng.percent(25);
	suspects_slower = faulty && rng.percent(15) ? static_cast<unsigned int>(rng.range(5, 100)) : 1;
	clock_jumps = rng.percent(20);
	third_loss = faulty && suspects.size() == 2 && rng.percent(25);
	quick_loss = !faulty && rng.percent(50);
	if (third_loss) {
		drives = data_drives + 2;
		spares = 0;
		for (unsigned int &s : suspects)
			s %= drives;
		if (suspects[0] == suspects[1])
			suspects[1] = (suspects[0] + 1) % drives;
		preemption = 0;	// so that "nothing is written after" has one meaning
	}
	drop_pair_at_end = rng.percent(60);
	returns = faulty && rng.percent(60);
	rebuild_rate = rng.percent(60) ? 0 : static_cast<unsigned int>(rng.range(2, 200));
	error_limit = suspects_slower > 1 || rng.percent(50) ? static_cast<unsigned int>(returns ? 256 : rng.range(10, 256)) : 0;
	newcomers = !third_loss && !quick_loss && rng.percent(35) ? static_cast<unsigned int>(rng.range(1, 3)) : 0;
	churn = 0;
	if (!spread && rng.percent(15)) {
		segment_blocks = 16;
		const uint64_t segments = rng.range(50, 130);

		drive_blocks = 1024 + segment_blocks * segments;
		max_volumes = static_cast<unsigned int>(rng.range(1, 3));
		huge_volumes = false;
		churn = static_cast<unsigned int>(std::max<uint64_t>(1, segments * segment_blocks * data_drives * rng.range(30, 110) / 100 / 256 / max_volumes));
		large_percent = static_cast<unsigned int>(rng.range(0, 20));
		unmap_percent = rng.percent(50) ? 0 : 3;
		hot_percent = rng.percent(50) ? 0 : static_cast<unsigned int>(rng.range(50, 90));
		write_percent = 80;
		requests_a_life = rng.range(200, 1200);
		if (rng.percent(40)) {
			// Users who leave the garbage collector time, and write under its hands: it reads slowly, and they write fast.
			users = static_cast<unsigned int>(rng.range(1, 4));
			think_ns = rng.range(20'000, 200'000);
			latency.read = rng.range(50'000, 300'000);
			latency.write = rng.range(1'000, 10'000);
			large_percent = 0;
		} else {
			control_ns *= 4;
		}
	} else if (!spread && rng.percent(10)) {
		process_percent = 100;
		// One or two users who send stripes off themselves, while checkpoints come and go.
		users = static_cast<unsigned int>(rng.range(1, 3));
		think_ns = 1'000;
		preemption = third_loss ? 0 : static_cast<unsigned int>(rng.range(3, 30));
		preemption_ns = rng.range(5'000, 500'000);
		control_ns = rng.range(50'000, 300'000);
		write_percent = 90;
		large_percent = sequential_percent = 0;
	}

	// Races between two places are rare where each is hit by chance alone: some seeds linger at a few.
	Rng lingering(mix64(seed) ^ 0x737469636b);	// "stick"

	const std::vector<std::string> &here = lingering_places.empty() ? places() : lingering_places;

	if (!third_loss && !here.empty() && (!lingering_places.empty() || lingering.percent(35))) {
		constexpr unsigned int one_in[] = {1, 1, 3, 10, 50};

		for (uint64_t n = lingering.range(1, 4); n; n--)
			sticky.push_back(lingering.pick(here));
		sticky_one_in = one_in[lingering.below(std::size(one_in))];
		sticky_ns = lingering.range(2, 2000) * lingering.range(1, 1000);
	}

	// A beat is longer than drives mostly take, and than it takes to ask all of them (some four points each way); but what waits for some beats must not
	// take for ever.
	const uint64_t worst = std::max(latency.read, latency.write * latency.superblocks) * suspects_slower * (latency.slow ? 100 : 1);
	const uint64_t asking = preemption ? 2 * (drives + spares) * 4 * preemption_ns / preemption : 0;
	const uint64_t paused = preemption ? 20 * preemption_ns : 0;	// a round is on time if few of them come in it
	const uint64_t lingered = sticky.empty() ? 0 : 2 * (drives + spares) * 4 * sticky_ns / sticky_one_in + 4 * sticky_ns;
	const uint64_t least_ns = std::max({std::min<uint64_t>(8 * worst, 2'500'000'000), 5 * asking, paused, 5 * lingered});

	heartbeat_ms = static_cast<unsigned int>(std::max(Rng(mix64(seed) ^ 0x6f776e6572).range(2, 200), least_ns / 1'000'000));

	// One that nothing is wrong with must be far from it, also where a beat is short beside what a slow command takes. A drive that was slower than others and is
	// no suspect any more would still be.
	Rng stalls(mix64(seed) ^ 0x7374616c6c);	// "stall"
	const uint64_t slowest = std::min<uint64_t>(std::max(latency.read, latency.write * latency.superblocks) * (latency.slow ? 100 : 1), 2'000'000'000);
	const uint64_t far = 24 * slowest / (heartbeat_ms * uint64_t{1'000'000}) + 1;

	stall_limit = static_cast<unsigned int>(std::max(stalls.range(3, stalls.percent(60) ? 4 : 10), far));
	if (stalls.percent(20) || (suspects_slower > 1 && returns))
		stall_limit = 0;
	hiccups = stalls.percent(15);
}

Plan Plan::small(uint64_t round)
{
	Plan p(round);
	Rng rng(mix64(round) ^ 0x736d616c);	// "smal"

	const Script script = script_of(round);

	p.data_drives = 2;
	p.drives = 4;
	p.spares = script == Script::spare ? 1 : 0;
	p.newcomers = 0;
	p.segment_blocks = 16;
	p.drive_blocks = 256 + 16 * 40;
	p.volatile_cache = true;
	p.discards = false;			// what is under way is to be few, and of what nothing points to there is nothing to see
	p.reserve_percent = 0;
	p.streams = 1;
	p.cache_nodes = 64;
	p.latency = {.read = 20'000, .write = 20'000, .flush = 20'000};
	if (script == Script::loss || script == Script::spare)
		p.latency.superblocks = 10;	// what must wait until a loss is on record would be done before that
	p.shorn_percent = 0;
	p.preemption = round % 3 == 0 ? static_cast<unsigned int>(rng.range(3, 100)) : 0;
	p.preemption_ns = 5000;
	p.sticky.clear();
	p.alloc_failure = 0;
	p.max_volumes = 2;
	p.unstable_percent = 0;
	p.churn = script == Script::spread ? 32 : 2;
	p.spread = 0;
	p.huge_volumes = false;
	p.verify_holes_percent = 0;
	p.suspects.clear();
	p.vanish = p.rot = p.bad_blocks = p.absent = p.hang = p.clock_jumps = p.third_loss = p.quick_loss = p.drop_pair_at_end = false;
	p.rates = {};
	p.suspects_slower = 1;
	p.stall_limit = 10;
	p.hiccups = false;
	return p;
}

void Plan::set_engine_parameters() const
{
	pav_rebuild_rate_min = pav_rebuild_rate_max = rebuild_rate;
	pav_evacuate_delay = third_loss ? 1000 : 0;
	pav_error_limit = error_limit;
	pav_stall_limit = stall_limit;
	set_sticky_places(sticky);
}

std::string Plan::describe() const
{
	std::string out = "k=" + std::to_string(data_drives) + " drives=" + std::to_string(drives) + "+" + std::to_string(spares) +
			  " segment=" + std::to_string(segment_blocks) + " drive=" + std::to_string(drive_blocks) +
			  (volatile_cache ? " volatile" : "") + " streams=" + std::to_string(streams) + " nodes=" + std::to_string(cache_nodes) +
			  " preempt=" + std::to_string(preemption) + " nomem=1/" + std::to_string(alloc_failure) + " keep=" + std::to_string(cut_keep_percent) +
			  "% users=" + std::to_string(users) + " volumes=" + std::to_string(max_volumes) + " lives=" + std::to_string(incarnations) +
			  " beat=" + std::to_string(heartbeat_ms);

	if (preemption && preemption_ns != 5000)
		out += " preempt-ns=" + std::to_string(preemption_ns);
	for (const std::string &place : sticky)
		out += " at " + place;
	if (!sticky.empty())
		out += " one in " + std::to_string(sticky_one_in) + " lingers for " + std::to_string(sticky_ns) + " ns";
	if (shorn_percent)
		out += " shorn=" + std::to_string(shorn_percent) + "%";
	if (latency.superblocks > 1)
		out += " slow-superblocks=" + std::to_string(latency.superblocks);
	if (churn)
		out += " churn=" + std::to_string(churn);
	if (spread)
		out += " spread=" + std::to_string(spread);
	out += suspects.empty() ? " " : " suspects=";
	for (const unsigned int s : suspects)
		out += "d" + std::to_string(s) + " ";
	out += vanish ? "vanish " : "";
	out += rot ? "rot " : "";
	out += bad_blocks ? "bad-blocks " : "";
	out += absent ? "absent " : "";
	out += rates.read_error ? "read-errors " : "";
	out += rates.write_error ? "write-errors " : "";
	out += rates.lost_write ? "lost-writes " : "";
	out += rates.misdirected_write ? "misdirected-writes " : "";
	out += hang ? "hang " : "";
	out += suspects_slower > 1 ? "slower=" + std::to_string(suspects_slower) + " " : "";
	out += stall_limit ? "stall-limit=" + std::to_string(stall_limit) + " " : "";
	out += hiccups ? "hiccups " : "";
	out += clock_jumps ? "clock-jumps " : "";
	out += quick_loss ? "quick-loss " : "";
	out += third_loss ? "third-loss " : "";
	out += error_limit ? "error-limit=" + std::to_string(error_limit) + " " : "";
	out += returns ? "returns " : "";
	out += newcomers ? "newcomers=" + std::to_string(newcomers) + " " : "";
	return out;
}

}  // namespace pav::sim
