// SPDX-License-Identifier: GPL-2.0
// The script, its points, and what is checked in each state.
#include "exhaustive.h"

extern "C" {
#include "format/format.h"
}

#include <algorithm>
#include <ctime>
#include <numeric>
#include <sstream>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace pav::sim {

namespace {

constexpr size_t many_subsets = 256;
constexpr unsigned int samples = 64;	// subsets by chance where there are too many
constexpr unsigned int torn_samples = 4;	// of blocks, where subsets are of writes
constexpr int exit_stopped = 4;

template <typename T> T *shared_memory(size_t n)
{
	void *p = mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		fail("no memory to share between processes");
	return static_cast<T *>(p);
}

double now_s()
{
	timespec t{};

	clock_gettime(CLOCK_MONOTONIC, &t);
	return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

uint64_t content_hash(const Cell &cell)
{
	uint64_t hash = 0x63656c6c;

	for (size_t i = 0; i < cell_bytes; i += sizeof hash) {
		uint64_t word;

		std::memcpy(&word, cell.data() + i, sizeof word);
		hash = (std::rotl(hash, 23) ^ word) * 0x9e3779b97f4a7c15;
	}
	return mix64(hash);
}

// Every choice of some of @n, as masks.
std::vector<std::vector<uint8_t>> all_of(size_t n)
{
	std::vector<std::vector<uint8_t>> out;

	for (uint64_t mask = 0; mask < uint64_t{1} << n; mask++) {
		std::vector<uint8_t> one(n);

		for (size_t i = 0; i < n; i++)
			one[i] = mask >> i & 1;
		out.push_back(std::move(one));
	}
	return out;
}

}  // namespace

// ---- what processes share ----

SharedSet::SharedSet() : slots_(shared_memory<std::atomic<uint64_t>>(room)), used_(shared_memory<std::atomic<uint64_t>>(1)) {}

bool SharedSet::claim(uint64_t key)
{
	key |= key == 0;
	for (size_t i = key % room;; i = (i + 1) % room) {
		uint64_t there = 0;

		if (slots_[i].compare_exchange_strong(there, key)) {
			if (used_->fetch_add(1) > room / 2)
				fail("simulator: the set of states seen is full");
			return true;
		}
		if (there == key)
			return false;
	}
}

std::string Subset::text() const
{
	std::string out = blocks ? "b" : "w";

	for (const uint8_t one : kept)
		out += static_cast<char>('0' + one);
	return out;
}

Subset Subset::parse(const std::string &text)
{
	Subset out{text.at(0) == 'b', {}};

	for (const char c : text.substr(1))
		out.kept.push_back(static_cast<uint8_t>(c - '0'));
	return out;
}

// ---- points ----

Exhaustive::Exhaustive(const Setting &setting) : World(Plan::small(setting.round), setting.round, setting.verbose), setting_(setting)
{
	std::istringstream in(setting_.only);

	if (setting_.pass && setting_.shared)
		slice_ = slice();
	for (std::string part; std::getline(in, part, ':');)
		wanted_.push_back(part);
}

bool Exhaustive::time_is_up() const
{
	return (setting_.shared && setting_.shared->stop) || (setting_.deadline_s > 0 && now_s() > setting_.deadline_s);
}

bool Exhaustive::something_new()
{
	uint64_t activity = 0;

	for (const auto &drive : drives_)
		activity += drive->activity();
	if (activity == activity_ && load_.history() == history_)
		return false;
	activity_ = activity;
	history_ = load_.history();
	return true;
}

void Exhaustive::after_event()
{
	if (replay_) {
		if (something_new()) {
			const size_t q = replay_->size();
			const bool here = wanted_.empty() ? q % recovery_parts == slice_.of_recovery : std::to_string(q) == wanted_.at(3);

			replay_->push_back(here ? look() : Point{});
		}
	} else if (watching_ && !stopped_ && something_new()) {
		number_++;
		trace_.add(machine_->now_ns(), "point", number_);
		explore();
	}
}

uint64_t Exhaustive::hash_of(unsigned int drive, uint64_t block, const CellRef &cell)
{
	const auto at = [=](uint64_t hash) { return mix64(hash ^ mix64(uint64_t{drive} << 32 | block)); };

	if (!cell)
		return 0;
	if (cell.use_count() == 1)
		return at(content_hash(*cell));	// made for this state
	const auto [it, fresh] = hashes_.try_emplace(cell.get(), cell, 0);	// kept, so that the address means this content for good

	if (fresh)
		it->second.second = content_hash(*cell);
	return at(it->second.second);
}

Exhaustive::Point Exhaustive::look()
{
	Point out;

	out.history = load_.history();
	out.hash = mix64(out.history ^ mix64(setting_.round));
	for (unsigned int d = 0; d < drives_.size(); d++) {
		const std::vector<CellRef> &durable = drives_[d]->durable();

		out.durable.push_back(durable);
		for (uint64_t b = 0; b < durable.size(); b++)
			out.hash += hash_of(d, b, durable[b]);
		for (auto &one : drives_[d]->unflushed())
			out.writes.push_back({d, std::move(one.cells)});
	}
	out.users = load_.save();
	out.lost = lost_;
	out.written_to = written_to_;
	return out;
}

std::vector<Exhaustive::Unit> Exhaustive::units(const Point &point, bool blocks)
{
	std::vector<Unit> out;

	if (!blocks)
		return point.writes;
	for (const Unit &write : point.writes)
		for (const auto &cell : write.cells)
			out.push_back({write.drive, {cell}});
	return out;
}

std::map<std::pair<unsigned int, uint64_t>, CellRef> Exhaustive::content(const Point &point, const Subset &subset)
{
	const std::vector<Unit> all = units(point, subset.blocks);
	std::map<std::pair<unsigned int, uint64_t>, CellRef> out;

	if (subset.kept.size() != all.size())
		fail("simulator: %s is of %zu writes, there are %zu: is it of these sources?", subset.text().c_str(), subset.kept.size(), all.size());
	for (size_t i = 0; i < all.size(); i++)
		for (const auto &[block, cell] : all[i].cells) {
			if (!subset.kept[i])
				continue;
			CellRef &there = out.try_emplace({all[i].drive, block}, point.durable[all[i].drive][block]).first->second;

			there = subset.kept[i] == 1 ? cell : shorn_cell(there, cell, 0x0f);
		}
	return out;
}

uint64_t Exhaustive::key(const Point &point, const Subset &subset)
{
	uint64_t out = point.hash;

	for (const auto &[where, cell] : content(point, subset))
		out += hash_of(where.first, where.second, cell) - hash_of(where.first, where.second, point.durable[where.first][where.second]);
	return mix64(out);
}

std::vector<Subset> Exhaustive::subsets(const Point &point, bool &sampled)
{
	const size_t writes = point.writes.size(), blocks = units(point, true).size();
	std::vector<Subset> out;
	Rng rng(mix64(point.hash) ^ writes);
	const auto by_chance = [&](bool of_blocks, unsigned int n) {
		const size_t of = of_blocks ? blocks : writes;

		while (n--) {
			std::vector<uint8_t> kept(of);
			const auto percent = static_cast<unsigned int>(rng.below(101));

			for (size_t i = 0; i < of; i++)
				kept[i] = rng.percent(percent);
			out.push_back({of_blocks, std::move(kept)});
		}
	};
	// One block shorn, the rest there, or not there; and all of them shorn.
	const auto shorn = [&] {
		out.push_back({true, std::vector<uint8_t>(blocks, 2)});
		for (size_t i = 0; i < std::min(blocks, max_units); i++)
			for (const uint8_t rest : {0, 1}) {
				out.push_back({true, std::vector<uint8_t>(blocks, rest)});
				out.back().kept[i] = 2;
			}
	};

	sampled = writes > max_units;
	if (!sampled) {
		const bool of_blocks = blocks <= max_units;

		for (auto &kept : all_of(of_blocks ? blocks : writes))
			out.push_back({of_blocks, std::move(kept)});
		if (!of_blocks)
			by_chance(true, torn_samples);
		shorn();
		return out;
	}
	for (const uint8_t most : {0, 1}) {
		out.push_back({false, std::vector<uint8_t>(writes, most)});
		for (size_t i = 0; i < writes; i++) {
			out.push_back({false, std::vector<uint8_t>(writes, most)});
			out.back().kept[i] = !most;
		}
	}
	by_chance(false, samples);
	by_chance(true, torn_samples);
	shorn();
	return out;
}

// ---- what is done at a point ----

uint64_t RoundCounts::slices(unsigned int pass) const
{
	return (1 + Exhaustive::shares) * Exhaustive::parts(pass, points);
}

bool RoundCounts::complete(unsigned int pass) const
{
	return finished[pass - 1] == slices(pass);
}

// All parts with few subsets, and then a share of the others after another. Successive parts lie far apart: each is a golden section further on.
Exhaustive::Slice Exhaustive::slice() const
{
	const uint64_t all = parts(setting_.pass, setting_.shared->rounds[setting_.round].points);
	uint64_t stride = all * 618 / 1000 + 1;

	while (std::gcd(stride, all) != 1)
		stride++;
	const uint64_t i = setting_.slice % all * stride % all, share = setting_.slice / all;

	if (setting_.pass == 1)
		return {i, 0, 0, share};
	return {1 + i / (recoveries * recovery_parts), i / recovery_parts % recoveries, i % recovery_parts, share};
}

// Is subset @i of @all there are at a point of the slice checked?
bool Exhaustive::Slice::has(const std::vector<Subset> &all, size_t i) const
{
	const bool many = all.size() > many_subsets;

	return share == 0 ? !many : many && i % shares == share - 1;
}

bool Exhaustive::ours_to_explore() const
{
	switch (setting_.pass) {
	case 0: return false;
	case 1: return number_ % point_parts == slice_.point;
	default: return number_ == slice_.point;
	}
}

// Ends a child, whose rare branches count.
void Exhaustive::leave(int status) const
{
	const std::vector<Mark> all = marks();

	for (size_t i = 0; i < std::min(all.size(), ExhaustiveShared::max_marks); i++)
		setting_.shared->marks[i] += all[i].count;
	_exit(status);
}

void Exhaustive::explore()
{
	at_ = std::to_string(setting_.round) + ":" + std::to_string(number_);
	if (!wanted_.empty()) {
		if (std::to_string(number_) == wanted_.at(1))
			explore_here(look());	// ends the process
		return;
	}
	if (!ours_to_explore())
		return;
	const Point point = look();

	if (time_is_up()) {
		stopped_ = true;
		return;
	}
	for (;;) {
		std::fflush(nullptr);
		const pid_t pid = fork();

		if (pid < 0)
			fail("fork: %s", std::strerror(errno));
		if (pid == 0) {
			reset_marks();
			explore_here(point);
			leave(0);
		}
		int status = 0;

		waitpid(pid, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return;
		if (!(WIFEXITED(status) && WEXITSTATUS(status) == exit_stopped)) {
			// The state is claimed: the next child goes on behind it.
			if (++setting_.shared->failures >= (setting_.keep_going ? 1000 : 3))
				setting_.shared->stop = true;
			std::fprintf(stderr, "state %s failed\n", setting_.shared->state[setting_.job]);
			if (!time_is_up())
				continue;
		}
		stopped_ = true;
		return;
	}
}

void Exhaustive::explore_here(const Point &point)
{
	bool sampled;
	std::vector<Subset> all = subsets(point, sampled);
	const std::string here = at_;

	watching_ = false;
	cut();
	if (!wanted_.empty()) {
		const Subset s = Subset::parse(wanted_.at(2));

		at_ = here + ":" + s.text();
		if (wanted_.size() > 3)
			cut_replay(point, s);
		else
			check(point, s, nullptr);
		std::printf("state %s: ok\n", setting_.only.c_str());
		std::exit(0);
	}
	if (setting_.pass == 2) {
		// Nothing got there, everything, and one in between: what the recovery finds is new, old, or torn.
		Rng rng(point.hash);
		std::vector<Subset> some = {all.front()};

		if (all.size() > 1)
			some.push_back(all[sampled ? point.writes.size() + 1 : (size_t{1} << all.front().kept.size()) - 1]);
		if (all.size() > 2)
			some.push_back(rng.pick(all));
		all = slice_.recovery < some.size() ? std::vector{some[slice_.recovery]} : std::vector<Subset>{};
	}
	for (size_t i = 0; i < all.size(); i++) {
		if (setting_.pass == 1 && !slice_.has(all, i))
			continue;
		const Subset &subset = all[i];
		const uint64_t k = key(point, subset);

		if (!ours(k))
			continue;
		if (time_is_up())
			leave(exit_stopped);
		at_ = here + ":" + subset.text();
		if (setting_.pass == 1) {
			if (i == 0)
				counts().sampled_points += sampled;
			if (setting_.seen->claim(k)) {
				counts().states++;
				check(point, subset, nullptr);
			} else {
				counts().alike++;
			}
			continue;
		}
		const uint64_t recovery = mix64(k ^ 0x7265706c6179);	// "replay"
		const bool first = setting_.seen->claim(recovery);

		counts().recoveries += first;
		counts().recoveries_without_two += first && k % 2;
		if (setting_.seen->claim(mix64(recovery ^ (slice_.of_recovery * (1 + shares) + slice_.share))))
			cut_replay(point, subset);
	}
}

void Exhaustive::prepare(const Point &point, const Subset &subset)
{
	std::vector<std::vector<CellRef>> drives = point.durable;

	for (const auto &[where, cell] : content(point, subset))
		drives[where.first][where.second] = cell;
	for (size_t d = 0; d < drives_.size(); d++) {
		drives_[d]->restore(std::move(drives[d]));
		drives_[d]->plug();
	}
	load_.restore(point.users);
	written_to_ = point.written_to;
	rng_ = Rng(mix64(setting_.round) ^ 0x7265636f76657279);	// "recovery"
	suspects_ = point.lost;
	harmed_ = !point.lost.empty();
	controls_ = 0;
	power_on(false);
}

// Which two to be without in the state whose key is @k: any, but those that are lost already.
std::vector<unsigned int> Exhaustive::two_drives(const Point &point, uint64_t k) const
{
	const auto all = static_cast<unsigned int>(drives_.size());
	std::vector<unsigned int> two = point.lost;

	if (two.empty())
		two.push_back(static_cast<unsigned int>(k >> 20) % all);
	if (two.size() == 1)
		two.push_back((two[0] + 1 + static_cast<unsigned int>(k >> 40) % (all - 1)) % all);
	return two;
}

// The drive that was lost is back, and two others are away: what was acknowledged without it is not there, so the group stays closed; or there is no such thing.
void Exhaustive::without_two_others(const Point &point, uint64_t k)
{
	const auto all = static_cast<unsigned int>(drives_.size());
	const unsigned int lost = point.lost[0];
	const unsigned int first = 1 + static_cast<unsigned int>(k >> 20) % (all - 1);
	const unsigned int second = 1 + (first + static_cast<unsigned int>(k >> 40) % (all - 2)) % (all - 1);
	const std::vector<unsigned int> others = {(lost + first) % all, (lost + second) % all};

	suspects_ = {lost, others[0], others[1]};
	if (open(others, true) == Outcome::ok) {
		read_back();
		cut();
	} else {
		power_off("a refused open");
	}
	if (setting_.shared)
		counts().without_two_others++;
}

// Opens the group in the state and reads back all there is. Every fourth time once more, without two drives; every eighth, users go on to work after it.
// @replay: gets the recovery's own points; every second such recovery is without two drives.
void Exhaustive::check(const Point &point, const Subset &subset, std::vector<Point> *replay)
{
	const uint64_t k = key(point, subset);
	const std::vector<unsigned int> two = two_drives(point, k);
	const bool without = replay && k % 2;
	const auto recover = [&](const std::vector<unsigned int> &absent) {
		if (open(absent) != Outcome::ok)
			fail("the group does not open");
		read_back();
		check_counts();
	};

	if (setting_.shared)
		std::snprintf(setting_.shared->state[setting_.job], sizeof setting_.shared->state[0], "%s", at_.c_str());
	watchdog(setting_.watchdog_s);
	prepare(point, subset);
	activity_ = 0;
	if (without)
		suspects_ = two;
	replay_ = replay;
	recover(without ? two : std::vector<unsigned int>{});
	replay_ = nullptr;
	cut();
	if (without) {
		for (Point &p : *replay)
			p.lost = two;
	}
	if (!replay && k % 4 == 1) {
		prepare(point, subset);
		suspects_ = two;
		recover(suspects_);
		cut();
		if (setting_.shared)
			counts().without_two++;
	}
	if (!replay && k % 4 == 3 && point.lost.size() == 1) {
		prepare(point, subset);
		without_two_others(point, k);
	}
	if (!replay && k % 8 == 2) {
		prepare(point, subset);
		recover({});
		as_process("first volume", [this] { load_.ensure_volume(); });
		for (uint64_t i = 0; i < 8; i++)
			write(i * 3 + (k >> 8) % 200, 1 + (k >> i) % 4);
		begin(Load::Control::checkpoint);
		settle();
		write(0, 12);
		settle();
		close();
		suspects_ = two;
		power_on(false);
		recover(suspects_);
		cut();
		if (setting_.shared)
			counts().lives_after++;
	}
	watchdog(0);
}

// Pass 2: the recovery from this state is cut in its turn.
void Exhaustive::cut_replay(const Point &point, const Subset &subset)
{
	std::vector<Point> points;
	const std::string here = at_;

	check(point, subset, &points);
	for (size_t q = 0; q < points.size(); q++) {
		const std::string there = here + ":" + std::to_string(q);

		if (points[q].durable.empty())
			continue;
		if (!wanted_.empty()) {
			const Subset s = Subset::parse(wanted_.at(4));

			at_ = there + ":" + s.text();
			check(points[q], s, nullptr);
			continue;
		}
		bool sampled;
		const std::vector<Subset> all = subsets(points[q], sampled);

		for (size_t i = 0; i < all.size(); i++) {
			if (!slice_.has(all, i))
				continue;
			const Subset &s = all[i];

			if (time_is_up())
				leave(exit_stopped);
			if (i == 0) {
				counts().replay_points++;
				counts().replay_sampled += sampled;
			}
			if (!setting_.seen->claim(key(points[q], s))) {
				counts().replay_alike++;
				continue;
			}
			counts().replay_states++;
			at_ = there + ":" + s.text();
			check(points[q], s, nullptr);
		}
		points[q] = {};
	}
	at_ = here;
}

// ---- scripts ----

void Exhaustive::begin(Load::Control what)
{
	controls_++;
	machine_->spawn("control", [this, what] {
		load_.control(what);
		controls_--;
	});
}

void Exhaustive::settle()
{
	run_until("the script's work", [this] { return controls_ == 0 && load_.quiet(); });
}

bool Exhaustive::run_slice()
{
	power_on(false);
	while (!create())
		power_on(false);
	script();
	if (!wanted_.empty())
		fail("simulator: round %lu has only %lu points", setting_.round, number_);
	return !stopped_;
}

void Exhaustive::script()
{
	power_on(false);
	open({});
	if (script_kind() == Plan::Script::full)
		fill();
	else if (script_kind() == Plan::Script::spread)
		fill_spread();
	watching_ = true;
	if (setting_.round == 1)
		first_steps();
	else if (script_kind() == Plan::Script::spread)
		spread_steps();
	else
		drawn_steps();
	close();
	watching_ = false;
}

void Exhaustive::first_steps()
{
	begin(Load::Control::create);
	settle();
	write(0, 1);
	settle();
	write(0, 1);
	write(5, 3);
	settle();
	unmap(5, 1);
	write(300, 1);
	settle();
	write(0, 1);
	begin(Load::Control::checkpoint);
	write(6, 2);
	settle();
	begin(Load::Control::change);
	write(0, 2);
	settle();
}

// Users' blocks, written until a segment had to be emptied.
void Exhaustive::fill()
{
	const uint64_t before = reached("segment emptied");
	struct pav_group_info info {};

	as_process("first volume", [this] { load_.ensure_volume(); });
	as_process("look", [this, &info] { pav_engine_info(engine_, &info); });
	const uint64_t cells = std::min<uint64_t>(info.capacity_cells * 8 / 10, 512);

	for (uint64_t i = 0; i < 400 && reached("segment emptied") == before; i++) {
		const uint64_t lba = i < cells / 16 ? i * 16 : rng_.below(cells / 2) * 2;

		write(lba, static_cast<unsigned int>(std::min<uint64_t>(16, 256 - lba % 256)));
		if (i % 2)
			settle();
	}
	settle();
	if (reached("segment emptied") == before)
		fail("simulator: the garbage collector has nothing to do in round %lu", setting_.round);
}

// A few leaves, again and again, until segments that these died in are used again without a checkpoint.
void Exhaustive::fill_spread()
{
	constexpr uint64_t few = 6;
	const uint64_t before = reached("segments renewed");

	as_process("first volume", [this] { load_.ensure_volume(); });
	for (uint64_t i = 0; i < 4000 && reached("segments renewed") < before + 4; i++) {
		write(i % few * PAV_LEAF_ENTRIES, 16);
		if (i % 4 == 3)
			settle();
	}
	settle();
	if (reached("segments renewed") < before + 4)
		fail("simulator: no segment is renewed in round %lu", setting_.round);
}

// As many leaves change while a checkpoint is on its way as may wait for one: should it not be committed, replay needs one in its middle.
void Exhaustive::spread_steps()
{
	Rng draw(mix64(setting_.round) ^ 0x7374657073);	// "steps"

	for (unsigned int burst = 0; burst < 2; burst++) {
		const uint64_t first = draw.below(plan_.churn);

		for (uint64_t i = 0; i < plan_.churn; i++) {
			if (i == plan_.churn / 2 && controls_ == 0)
				begin(Load::Control::checkpoint);
			write((first + i) % plan_.churn * PAV_LEAF_ENTRIES, static_cast<unsigned int>(draw.range(1, 3)));
			if (i % 4 == 3)
				run_until("a few writes", [this] { return load_.requests_are_done(); });
		}
	}
	settle();
}

// The drive is pulled while users are at work: what is written without it is acknowledged when that is on record.
void Exhaustive::lose(unsigned int drive)
{
	lost_ = suspects_ = {drive};
	vanish(drive);
}

void Exhaustive::drawn_steps()
{
	Rng draw(mix64(setting_.round) ^ 0x7374657073);	// "steps"
	const bool filled = script_kind() == Plan::Script::full, loses = script_kind() == Plan::Script::loss || script_kind() == Plan::Script::spare;

	if (filled) {
		// Until the garbage collector has done it again, now that the power may be cut.
		const uint64_t before = reached("segment emptied");

		for (unsigned int i = 0; i < 40 && reached("segment emptied") == before; i++) {
			write(draw.below(240), static_cast<unsigned int>(draw.range(1, 8)));
			settle();
		}
	} else {
		begin(Load::Control::create);
		settle();
	}
	for (uint64_t step = 0; step < 6 + draw.below(6); step++) {
		const uint64_t dice = draw.below(100);

		if (loses && step == 3)
			lose(static_cast<unsigned int>(draw.below(4)));
		if (dice < 70)
			write(draw.percent(70) ? draw.below(12) : draw.below(240), static_cast<unsigned int>(draw.percent(70) ? draw.range(1, 3) : draw.range(4, 16)));
		else if (dice < 80)
			unmap(draw.below(12), static_cast<unsigned int>(draw.range(1, 8)));
		else if (controls_ == 0)
			begin(dice < 90 ? Load::Control::checkpoint : dice < 95 ? Load::Control::change : load_.volumes() > 1 ? Load::Control::remove : Load::Control::create);
		if (step % 3 == 2 || draw.percent(30))
			settle();
	}
	settle();
}

}  // namespace pav::sim
