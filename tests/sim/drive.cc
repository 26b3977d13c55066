// SPDX-License-Identifier: GPL-2.0
#include "drive.h"

#include "machine.h"

extern "C" {
#include "format/format.h"
}

#include <algorithm>

namespace pav::sim {

namespace {

const Cell zeroes{};

// Zeroes take no memory.
CellRef make_cell(const void *from)
{
	if (std::memcmp(from, zeroes.data(), cell_bytes) == 0)
		return nullptr;
	auto cell = std::make_shared_for_overwrite<Cell>();

	std::memcpy(cell->data(), from, cell_bytes);
	return cell;
}

const CellRef &garbage()
{
	static const CellRef cell = [] {
		auto nonsense = std::make_shared<Cell>();

		for (size_t i = 0; i < cell_bytes; i++)
			(*nonsense)[i] = static_cast<uint8_t>(mix64(i));
		return nonsense;
	}();
	return cell;
}

bool overlap(const Drive::Command &a, const Drive::Command &b)
{
	return a.block < b.block + b.cells && b.block < a.block + a.cells;
}

const Cell &content(const CellRef &cell)
{
	return cell ? *cell : zeroes;
}

}  // namespace

CellRef shorn_cell(const CellRef &old, const CellRef &now, unsigned int which)
{
	constexpr size_t bytes = cell_bytes / sectors;
	Cell mixed = content(old);

	for (size_t s = 0; s < sectors; s++)
		if (which >> s & 1)
			std::memcpy(mixed.data() + s * bytes, content(now).data() + s * bytes, bytes);
	return make_cell(mixed.data());
}

void Drive::submit(Command command)
{
	Machine &m = *Machine::current();
	const bool data = command.op == PAV_IO_READ || command.op == PAV_IO_WRITE;

	if (command.op != PAV_IO_FLUSH && (command.cells == 0 || command.block >= blocks() || command.cells > blocks() - command.block))
		fail("%s: command %d for %u blocks at %lu is beyond its %lu blocks", name_.c_str(), command.op, command.cells, command.block, blocks());
	if (command.op == PAV_IO_READ ? !command.into : data && !command.from)
		fail("%s: command %d without memory", name_.c_str(), command.op);
	if (on_submit)
		on_submit(command);

	switch (command.op) {
	case PAV_IO_READ:
		stats_.reads++;
		stats_.read_cells += command.cells;
		std::memset(command.into, 0xa5, command.cells * cell_bytes);	// whoever looks too early shall see nonsense
		break;
	case PAV_IO_WRITE:
		stats_.writes++;
		stats_.write_cells += command.cells;
		for (unsigned int i = 0; i < command.cells; i++)
			command.data.push_back(make_cell(static_cast<const uint8_t *>(command.from) + i * cell_bytes));
		for (const auto &[id, other] : commands_) {
			if (other.op == PAV_IO_DISCARD && !other.landed && overlap(command, other))
				fail("%s: a write of block %lu+%u beside a discard of %lu+%u: it may be lost", name_.c_str(), command.block, command.cells,
				     other.block, other.cells);
			// Two hosts may race for their stamps; that is what these are for.
			if (other.landed || (other.host != &m && command.block == PAV_OWNER_CELL))
				continue;
			if (other.op != PAV_IO_WRITE || other.block >= command.block + command.cells || command.block >= other.block + other.cells)
				continue;
			const uint64_t at = std::max(other.block, command.block);

			if (content(other.data[at - other.block]) != content(command.data[at - command.block]))
				fail("%s: two writes of different data to block %lu in flight: either may win", name_.c_str(), at);
		}
		break;
	case PAV_IO_FLUSH:
		stats_.flushes++;
		break;
	case PAV_IO_DISCARD:
		if (!discards)
			fail("%s: a discard, which it cannot", name_.c_str());
		stats_.discards++;
		for (const auto &[id, other] : commands_)
			if (other.op == PAV_IO_WRITE && !other.landed && overlap(command, other))
				fail("%s: a discard of block %lu+%u beside a write of %lu+%u, which may be lost", name_.c_str(), command.block, command.cells,
				     other.block, other.cells);
		break;
	}
	command.order = order_;
	activity_++;
	command.host = &m;
	if (gone_)
		command.error = -ENODEV;

	const uint64_t id = next_command_++;
	const pav_io_op op = command.op;
	const uint64_t block = command.block;

	m.trace().add(m.now_ns(), op == PAV_IO_READ ? "read" : op == PAV_IO_WRITE ? (command.fua ? "write fua" : "write") : op == PAV_IO_FLUSH ? "flush" : "discard",
		      number_, command.block, command.cells, id);
	commands_.emplace(id, std::move(command));
	if (m.rng().percent(latency.inline_percent)) {
		stats_.inline_completions++;
		if (m.fiber())
			m.fiber()->nosleep++;
		complete(id);
		if (m.fiber())
			m.fiber()->nosleep--;
		return;
	}
	const bool superblock = op == PAV_IO_WRITE && block < superblocks_end;
	const uint64_t mean = (op == PAV_IO_READ ? latency.read : op == PAV_IO_FLUSH ? latency.flush : latency.write) * (m.rng().one_in(latency.slow) ? 100 : 1) *
			      (superblock ? latency.superblocks : 1);

	// What takes longer than this is for hang().
	m.after(1 + latency.unheard + m.rng().skewed(std::min<uint64_t>(mean, 2'000'000'000)), [this, id] { complete(id); });
}

void Drive::complete(uint64_t id)
{
	Machine &m = *Machine::current();
	const auto it = commands_.find(id);

	if (it == commands_.end())
		fail("%s: command %lu completes, and is not in flight", name_.c_str(), id);
	if (hangs() && !gone_) {
		m.after(hangs_until_ns_ - m.now_ns() + m.rng().below(1000), [this, id] { complete(id); });
		return;
	}
	if (id < reset_below_ && !it->second.error) {
		it->second.error = -ETIMEDOUT;
		stats_.timed_out++;
	}
	Command command = std::move(it->second);
	commands_.erase(it);
	activity_++;

	switch (command.op) {
	case PAV_IO_READ:
		if (!command.error && m.rng().one_in(rates.read_error))
			command.error = -EIO;
		for (unsigned int i = 0; i < command.cells && !command.error; i++)
			if (unreadable_.count(command.block + i))
				command.error = -EIO;
		if (command.error) {
			stats_.read_errors++;
			break;
		}
		for (unsigned int i = 0; i < command.cells && !command.landed; i++)
			std::memcpy(static_cast<uint8_t *>(command.into) + i * cell_bytes, content(peek(command.block + i)).data(), cell_bytes);
		break;
	case PAV_IO_WRITE:
		if (!command.landed)
			write_completes(command, id);
		break;
	case PAV_IO_FLUSH:
		if (command.error)
			break;
		for (auto c = cache_.begin(); c != cache_.end();) {
			std::vector<Cached> &versions = c->second;

			while (!versions.empty() && versions.front().order < command.order) {
				media_[c->first] = versions.front().data;
				versions.erase(versions.begin());
			}
			c = versions.empty() ? cache_.erase(c) : std::next(c);
		}
		break;
	case PAV_IO_DISCARD:
		if (!command.error && !command.landed)
			forget(command, id, m.rng());
		break;
	}
	m.trace().add(m.now_ns(), command.error ? "io error" : "io done", number_, id, static_cast<uint64_t>(-command.error));
	command.done(command.error);
}

// The drive may keep what was discarded, or forget it, or say what it likes.
void Drive::forget(const Command &command, uint64_t id, Rng &rng)
{
	for (unsigned int i = 0; i < command.cells; i++)
		switch (rng.below(4)) {
		case 0:
			break;
		case 1:
			apply(command.block + i, garbage(), false, id);
			break;
		default:
			apply(command.block + i, nullptr, false, id);
		}
}

void Drive::write_completes(Command &command, uint64_t id)
{
	Machine &m = *Machine::current();
	Rng &rng = m.rng();

	for (unsigned int i = 0; i < command.cells; i++)
		if (std::memcmp(content(command.data[i]).data(), static_cast<const uint8_t *>(command.from) + i * cell_bytes, cell_bytes) != 0)
			fail("%s: block %lu was changed in memory while it was being written", name_.c_str(), command.block + i);
	if (!command.error && rng.one_in(rates.write_error)) {
		command.error = -EIO;
		stats_.write_errors++;
	}
	if (command.error) {
		write_failed_ns_ = m.now_ns();
		if (command.error != -ENODEV)
			for (unsigned int i = 0; i < command.cells; i++)
				if (rng.percent(50))
					apply(command.block + i, command.data[i], false, id);
		return;
	}
	if (rng.one_in(rates.lost_write)) {
		stats_.lost_writes++;
		return;
	}
	uint64_t block = command.block;

	if (rng.one_in(rates.misdirected_write)) {
		block = rng.below(blocks() - command.cells + 1);
		stats_.misdirected_writes++;
	}
	for (unsigned int i = 0; i < command.cells; i++)
		apply(block + i, command.data[i], command.fua || !volatile_, id);
}

void Drive::apply(uint64_t block, const CellRef &data, bool durable, uint64_t command)
{
	unreadable_.erase(block);
	if (durable) {
		media_[block] = data;
		cache_.erase(block);	// what is older can come back no more
	} else {
		cache_[block].push_back({order_++, data, command});
	}
}

const CellRef &Drive::peek(uint64_t block) const
{
	const auto it = cache_.find(block);

	return it == cache_.end() ? media_[block] : it->second.back().data;
}

// Decides what is left of @block of what the cache holds.
void Drive::settle(uint64_t block, Rng &rng, unsigned int keep_percent, unsigned int shorn_percent)
{
	const std::vector<Cached> &versions = cache_[block];

	if (rng.percent(keep_percent)) {
		const CellRef &now = versions[rng.below(versions.size())].data;

		if (shorn_percent && rng.percent(shorn_percent)) {
			media_[block] = shorn_cell(media_[block], now, static_cast<unsigned int>(rng.below(1 << sectors)));
			stats_.cut_shorn++;
		} else {
			media_[block] = now;
		}
		stats_.cut_kept++;
	} else {
		stats_.cut_dropped++;
	}
	cache_.erase(block);
}

// A write or discard under way is, block by block, one more content that may or may not have got there, after those that had completed.
void Drive::leave_undecided()
{
	for (const auto &[id, command] : commands_)
		if ((command.op == PAV_IO_WRITE || command.op == PAV_IO_DISCARD) && !command.error)
			for (unsigned int i = 0; i < command.cells; i++)
				cache_[command.block + i].push_back({order_++, command.op == PAV_IO_WRITE ? command.data[i] : nullptr, id});
}

std::vector<Drive::Unflushed> Drive::unflushed() const
{
	std::map<uint64_t, Unflushed> by_command;

	for (const auto &[block, versions] : cache_)
		for (const Cached &version : versions)
			by_command[version.command].cells.emplace_back(block, version.data);
	for (const auto &[id, command] : commands_)
		if ((command.op == PAV_IO_WRITE || command.op == PAV_IO_DISCARD) && !command.error)
			for (unsigned int i = 0; i < command.cells; i++)
				by_command[id].cells.emplace_back(command.block + i, command.op == PAV_IO_WRITE ? command.data[i] : nullptr);
	std::vector<Unflushed> out;

	for (auto &[id, one] : by_command)
		out.push_back(std::move(one));
	return out;
}

void Drive::power_cut(Rng &rng, unsigned int keep_percent, unsigned int shorn_percent)
{
	leave_undecided();
	commands_.clear();
	while (!cache_.empty())
		settle(cache_.begin()->first, rng, keep_percent, shorn_percent);
}

bool Drive::hangs() const
{
	return Machine::current() && Machine::current()->now_ns() < hangs_until_ns_;
}

bool Drive::has_failed(uint64_t since_ns) const
{
	if (write_failed_ns_ && Machine::current()->now_ns() < write_failed_ns_ + since_ns)
		return true;
	return std::any_of(commands_.begin(), commands_.end(), [](const auto &entry) { return entry.second.error != 0; });
}

void Drive::hang(uint64_t until_ns, bool reset)
{
	if (gone_)
		return;
	stats_.hangs++;
	hangs_until_ns_ = until_ns;
	if (reset)
		Machine::current()->after(until_ns - Machine::current()->now_ns(), [this] { reset_below_ = next_command_; });
}

void Drive::host_died(const void *host, Rng &rng)
{
	std::erase_if(commands_, [&](const auto &entry) {
		const Command &command = entry.second;

		if (command.host != host)
			return false;
		for (unsigned int i = 0; i < command.cells && command.op == PAV_IO_WRITE && !command.error && !command.landed; i++)
			if (rng.percent(50))
				apply(command.block + i, command.data[i], false);
		return true;
	});
}

void Drive::land(const void *host, Rng &rng)
{
	for (auto &[id, command] : commands_) {
		if (command.host != host || command.error || command.landed || command.op == PAV_IO_FLUSH)
			continue;
		command.landed = true;
		if (command.op == PAV_IO_DISCARD) {
			forget(command, id, rng);
			continue;
		}
		for (unsigned int i = 0; i < command.cells; i++) {
			const CellRef cell = peek(command.block + i);
			uint8_t *into = static_cast<uint8_t *>(command.into) + i * cell_bytes;

			if (command.op == PAV_IO_WRITE)
				apply(command.block + i, command.data[i], command.fua || !volatile_);
			else if (cell)
				std::memcpy(into, cell->data(), cell_bytes);
			else
				std::memset(into, 0, cell_bytes);
		}
	}
}

void Drive::vanish(Rng &rng)
{
	if (gone_)
		return;
	gone_ = true;
	stats_.vanished++;
	leave_undecided();
	for (auto &[id, command] : commands_)
		command.error = -ENODEV;
	while (!cache_.empty())
		settle(cache_.begin()->first, rng, 50, 0);
}

void Drive::rot(uint64_t block, Rng &rng)
{
	auto cell = std::make_shared<Cell>();
	const CellRef old = peek(block);

	if (old)
		*cell = *old;
	for (uint64_t flips = 1 + rng.skewed(2); flips; flips--) {
		const uint64_t bit = rng.below(cell_bytes * 8);

		(*cell)[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
	}
	cache_.erase(block);
	media_[block] = cell;
	stats_.rotten++;
}

void Drive::make_unreadable(uint64_t block)
{
	unreadable_.insert(block);
	stats_.bad_blocks++;
}

uint64_t Drive::written_below(uint64_t limit, Rng &rng) const
{
	for (int tries = 0; tries < 64; tries++) {
		const uint64_t block = rng.below(std::min(limit, blocks()));

		if (written(block))
			return block;
	}
	return limit;
}

std::vector<CellRef> Drive::snapshot() const
{
	std::vector<CellRef> out = media_;

	for (const auto &[block, versions] : cache_)
		out[block] = versions.back().data;
	return out;
}

void Drive::restore(std::vector<CellRef> content)
{
	if (!commands_.empty())
		fail("%s: restored with commands in flight", name_.c_str());
	media_ = std::move(content);
	cache_.clear();
}

}  // namespace pav::sim
