// SPDX-License-Identifier: GPL-2.0
// For tests that tell one story each: a group with one volume on simulated drives, in a machine whose power can be cut. What is written is remembered, and
// verify() reads all of it back. Chance decides how long things take, and little else; PAV_CHANCE=N in the environment makes it another (1).
#pragma once

#include "host.h"
#include "worker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pav::sim {

class Scenario : public testing::Test {
protected:
	static constexpr uint64_t ms = 1'000'000, second = 1000 * ms;
	static constexpr uint64_t segments_begin = 256;	// blocks

	// @segments: on each drive, of @segment_blocks.
	Scenario(unsigned int drives, uint64_t segments, uint64_t segment_blocks, bool volatile_cache)
	{
		host_options() = {};
		pav_stall_limit = 10;
		pav_error_limit = 0;
		pav_evacuate_delay = 60;
		pav_rebuild_rate_min = pav_rebuild_rate_max = 0;
		reset_marks();
		for (unsigned int i = 0; i < drives; i++) {
			drives_.push_back(std::make_unique<Drive>(i, segments_begin + segments * segment_blocks, volatile_cache));
			devs_.push_back({drives_.back().get()});
		}
		create_.segment_blocks = segment_blocks;
		std::snprintf(create_.name, sizeof create_.name, "story");
		params_.streams = 2;
		params_.cache_nodes = 64;
		params_.host = this;
		ops_.event = [](void *host, pav_event type, const char *, int slot, u64, const char *text) {
			auto &test = *static_cast<Scenario *>(host);

			if (type == PAV_EVENT_DRIVE_FAILED)
				test.failed_.push_back({static_cast<unsigned int>(slot), test.machine_->now_ns(), text});
			EXPECT_NE(type, PAV_EVENT_DATA_LOST) << text;
			test.faulted_ = test.faulted_ || type == PAV_EVENT_GROUP_FAULTED;
			EXPECT_TRUE(type != PAV_EVENT_GROUP_FAULTED || test.may_fault_) << text;
		};
		params_.ops = &ops_;
		machine_ = std::make_unique<Machine>(rng_, trace_);
	}

	// ---- the machine ----
	template <typename P> void run_until(P done)
	{
		while (!done())
			if (!machine_->step())
				fail("nothing can happen any more; waiting: %s", machine_->stuck().c_str());
	}
	void run_for(uint64_t ns)
	{
		const uint64_t until = machine_->now_ns() + ns;

		machine_->after(ns, [] {});
		run_until([&] { return machine_->now_ns() >= until; });
	}
	template <typename F> void as_process(F body)
	{
		bool done = false;

		machine_->spawn("test", [&] {
			body();
			done = true;
		});
		run_until([&] { return done; });
	}
	// Of what was not durable @keep_percent of the blocks got there; and all of it on drive @lucky.
	void cut(unsigned int keep_percent, int lucky = -1)
	{
		machine_ = nullptr;
		engine_ = nullptr;
		volume_ = nullptr;
		requests_.clear();
		in_flight_ = 0;
		for (size_t i = 0; i < drives_.size(); i++)
			drives_[i]->power_cut(rng_, static_cast<int>(i) == lucky ? 100 : keep_percent);
		machine_ = std::make_unique<Machine>(rng_, trace_);
		for (auto &drive : drives_)
			drive->starts();
	}

	// What is on all drives, by drive; and all of it again. Nobody may be at work.
	std::vector<std::vector<CellRef>> contents() const
	{
		std::vector<std::vector<CellRef>> there;

		for (const auto &drive : drives_)
			there.push_back(drive->snapshot());
		return there;
	}
	void restore(const std::vector<std::vector<CellRef>> &there)
	{
		for (size_t i = 0; i < drives_.size(); i++)
			drives_[i]->restore(there[i]);
	}

	// ---- the group ----
	// Of the first @members drives; the last @spares of them are spares. With a volume of @cells, open.
	void create(unsigned int data_drives, unsigned int members, unsigned int spares, uint64_t cells)
	{
		std::vector<pav_drive_arg> args;
		pav_volume_ident ident{};
		pav_err err{};

		create_.data_drives = data_drives;
		for (unsigned int i = 0; i < members; i++)
			args.push_back({&devs_[i], i >= members - spares});
		as_process([&] { ASSERT_EQ(pav_engine_create(args.data(), members, &create_, &err), 0) << err.text; });
		open();
		std::snprintf(ident.name, sizeof ident.name, "v");
		as_process([&] { ASSERT_EQ(pav_volume_create(engine_, &ident, cells, &volume_, &err), 0) << err.text; });
	}
	// Of all drives that are there, but @absent.
	void open(const std::set<unsigned int> &absent = {})
	{
		const std::vector<pav_drive_arg> args = members(absent);
		pav_err err{};

		as_process([&] { ASSERT_EQ(pav_engine_open(args.data(), static_cast<unsigned int>(args.size()), &params_, &engine_, &err), 0) << err.text; });
		as_process([&] { volume_ = pav_volume_by_id(engine_, 0); });
	}
	// Begins to open it, and stops after @events of the machine; true: it was open before that.
	bool open_for(uint64_t events)
	{
		const std::vector<pav_drive_arg> args = members({});
		const uint64_t last = machine_->events_run() + events;
		bool done = false;
		pav_err err{};

		machine_->spawn("test", [&] {
			ASSERT_EQ(pav_engine_open(args.data(), static_cast<unsigned int>(args.size()), &params_, &engine_, &err), 0) << err.text;
			volume_ = pav_volume_by_id(engine_, 0);
			done = true;
		});
		run_until([&] { return done || machine_->events_run() >= last; });
		return done;
	}
	void close()
	{
		pav_err err{};

		as_process([&] { EXPECT_EQ(pav_engine_close(engine_, &err), faulted_ ? -EIO : 0) << err.text; });
		engine_ = nullptr;
	}
	pav_drive_state state(unsigned int slot)
	{
		pav_drive_info info{};

		as_process([&] { pav_engine_drive_info(engine_, slot, &info); });
		return info.state;
	}
	pav_group_info info()
	{
		pav_group_info info{};

		as_process([&] { pav_engine_info(engine_, &info); });
		return info;
	}
	uint64_t counter(const char *name)
	{
		struct Wanted {
			const char *name;
			uint64_t value;
		} wanted{name, 0};

		as_process([&] {
			pav_engine_counters(
				engine_,
				[](void *ctx, const char *what, u64 value) {
					auto &w = *static_cast<Wanted *>(ctx);

					if (std::string_view(what) == w.name)
						w.value = value;
				},
				&wanted);
		});
		return wanted.value;
	}
	void vanish(unsigned int drive)
	{
		drives_[drive]->vanish(rng_);
		pav_engine_drive_gone(engine_, &devs_[drive]);
	}
	void come_home(unsigned int drive)
	{
		pav_err err{};

		drives_[drive]->plug();
		as_process([&] { ASSERT_EQ(pav_engine_return(engine_, &devs_[drive], &err), 0) << err.text; });
	}
	void checkpoint()
	{
		as_process([&] { EXPECT_EQ(pav_engine_checkpoint(engine_), 0); });
	}
	// Until nothing lacks anything, and no drive is failed.
	void until_whole()
	{
		for (unsigned int looks = 0; looks < 10'000; looks++) {
			const pav_group_info i = info();

			if (!i.failed && !i.missing)
				return;
			run_for(10 * ms);
		}
		FAIL() << "it does not become whole: " << info().failed << " failed, missing " << info().missing;
	}

	// ---- users ----
	// Writes each of @lbas anew, @depth cells at a time. The first error there was, or 0.
	int write(const std::vector<uint64_t> &lbas, unsigned int depth = 16)
	{
		return run_requests(PAV_WRITE, lbas, depth);
	}
	int write(uint64_t first, uint64_t n)
	{
		return write(range(first, n));
	}
	// Writes cells below @lbas at random, @batch at a time, until no more than @leave are free. The first error there was, or 0.
	int fill(uint64_t lbas, uint64_t batch, uint64_t leave = 0)
	{
		int error = 0;

		while (!error && info().free_cells > leave) {
			std::vector<uint64_t> some;

			for (uint64_t n = std::min<uint64_t>(info().free_cells, batch); n; n--)
				some.push_back(rng_.below(lbas));
			error = write(some);
		}
		return error;
	}
	// Writes so many of those that were written anew. The first error there was, or 0.
	int rewrite(unsigned int percent)
	{
		std::vector<uint64_t> some;

		for (const auto &[lba, version] : version_)
			if (rng_.percent(percent))
				some.push_back(lba);
		return write(some);
	}
	// The first error there was, or 0.
	int unmap(const std::vector<uint64_t> &lbas) { return run_requests(PAV_UNMAP, lbas, 16); }
	// Reads all that was ever written.
	void verify()
	{
		std::vector<uint64_t> lbas;

		for (const auto &[lba, version] : version_)
			lbas.push_back(lba);
		EXPECT_EQ(read(lbas), 0);
	}
	// Reads these, and expects what was written. The first error there was, or 0.
	int read(const std::vector<uint64_t> &lbas, unsigned int depth = 16) { return run_requests(PAV_READ, lbas, depth); }
	Cell expected(uint64_t lba)
	{
		Cell cell;

		if (version_[lba])
			fill_cell(cell.data(), lba, version_[lba]);
		else
			cell.fill(0);
		return cell;
	}
	// Are the engine's counts of cells what its map says? Nobody may be at work.
	void check_counts()
	{
		char text[200];

		as_process([&] {
			std::vector<u32> live(sim_segments(volume_));
			uint64_t mapped = 0;

			for (const auto &[lba, version] : version_)
				mapped += sim_count_cell(volume_, lba, live.data());
			EXPECT_EQ(sim_wrong_mapped(volume_, mapped, text, sizeof text), nullptr) << text;
			EXPECT_EQ(sim_wrong_live(volume_, live.data(), text, sizeof text), nullptr) << text;
		});
	}
	static std::vector<uint64_t> range(uint64_t first, uint64_t n)
	{
		std::vector<uint64_t> lbas(n);

		for (uint64_t i = 0; i < n; i++)
			lbas[i] = first + i;
		return lbas;
	}

	struct Failed {
		unsigned int slot;
		uint64_t ns;
		std::string text;
	};

	Rng rng_{chance()};
	Trace trace_;
	std::unique_ptr<Machine> machine_;
	std::vector<std::unique_ptr<Drive>> drives_;
	std::vector<pav_dev> devs_;
	pav_create_params create_{};
	pav_open_params params_{};
	pav_host_ops ops_{};
	pav_engine *engine_ = nullptr;
	pav_volume *volume_ = nullptr;
	std::vector<Failed> failed_;
	std::map<uint64_t, uint64_t> version_;	// by LBA: what was acknowledged last; 0: unmapped

	bool may_fault_ = false, faulted_ = false;
	bool in_threads_ = false;	// requests come from threads, which can be put aside

private:
	static uint64_t chance()
	{
		const char *chance = std::getenv("PAV_CHANCE");

		return chance ? std::strtoull(chance, nullptr, 10) : 1;
	}
	std::vector<pav_drive_arg> members(const std::set<unsigned int> &absent)
	{
		std::vector<pav_drive_arg> args;

		for (unsigned int i = 0; i < devs_.size(); i++)
			if (!absent.count(i) && !drives_[i]->gone() && is_member(*drives_[i]))
				args.push_back({&devs_[i], false});
		return args;
	}
	static bool is_member(const Drive &drive) { return drive.written(8) || drive.written(16); }

	struct Request : UserMemory {
		Request() : UserMemory{}, memory(static_cast<uint8_t *>(std::aligned_alloc(cell_bytes, cell_bytes)), std::free) { cells = memory.get(); }
		std::unique_ptr<uint8_t, void (*)(void *)> memory;
		pav_req req{};
		u32 crc = 0;
		uint64_t version = 0;
		Scenario *test = nullptr;
	};

	static void fill_cell(uint8_t *cell, uint64_t lba, uint64_t version)
	{
		for (size_t i = 0; i < cell_bytes / 8; i++) {
			const uint64_t word = mix64(lba << 32 | version) + i;

			std::memcpy(cell + 8 * i, &word, 8);
		}
	}

	void request_done(Request &r)
	{
		in_flight_--;
		if (r.req.error) {
			error_ = error_ ? error_ : r.req.error;
		} else if (r.req.op != PAV_READ) {
			version_[r.req.lba] = r.req.op == PAV_WRITE ? r.version : 0;
		} else {
			EXPECT_EQ(std::memcmp(r.cells, expected(r.req.lba).data(), cell_bytes), 0) << "cell " << r.req.lba;
		}
		idle_.push_back(&r);
	}

	int run_requests(pav_req_op op, const std::vector<uint64_t> &lbas, unsigned int depth)
	{
		error_ = 0;
		idle_.clear();
		while (requests_.size() < depth)
			requests_.push_back(std::make_unique<Request>());
		for (unsigned int i = 0; i < depth; i++)
			idle_.push_back(requests_[i].get());
		for (const uint64_t lba : lbas) {
			run_until([this] { return !idle_.empty(); });
			Request &r = *idle_.back();

			idle_.pop_back();
			r.test = this;
			r.version = ++versions_;
			if (op == PAV_WRITE)
				fill_cell(r.cells, lba, r.version);
			r.req = pav_req{};
			r.req.vol = volume_;
			r.req.op = op;
			r.req.lba = lba;
			r.req.cells = 1;
			r.req.crc = &r.crc;
			r.req.env.sim = static_cast<UserMemory *>(&r);
			r.req.done = [](pav_req *req) {
				Request &done = *static_cast<Request *>(static_cast<UserMemory *>(req->env.sim));

				done.test->request_done(done);
			};
			in_flight_++;
			if (in_threads_)
				machine_->spawn("user", [&r] { pav_submit(&r.req); });
			else
				machine_->after(0, [&r] { pav_submit(&r.req); });
		}
		run_until([this] { return in_flight_ == 0; });
		return error_;
	}

	std::vector<std::unique_ptr<Request>> requests_;
	std::vector<Request *> idle_;
	unsigned int in_flight_ = 0;
	uint64_t versions_ = 0;
	int error_ = 0;
};

}  // namespace pav::sim
