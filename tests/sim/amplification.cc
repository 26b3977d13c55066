// SPDX-License-Identifier: GPL-2.0
#include "amplification.h"

#include "host.h"
#include "worker.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

extern "C" {
#include "format/format.h"
}

namespace pav::sim {

namespace {

constexpr unsigned int max_cells = PAV_REQ_MAX_CELLS;
constexpr uint64_t first_segment = 256;	// cells of a drive before its segments (PAV_SEGMENTS_CELL)

// The users write zeroes: a simulated drive keeps those without taking memory, and the engine treats them as anything else.
class Bench {
public:
	explicit Bench(const AmplificationOptions &options)
		: o_(options), rng_(options.seed), memory_(static_cast<uint8_t *>(std::aligned_alloc(cell_bytes, max_cells * cell_bytes)), std::free)
	{
		const uint64_t blocks = first_segment + o_.segments * o_.segment_blocks;

		std::memset(memory_.get(), 0, max_cells * cell_bytes);
		for (unsigned int i = 0; i < o_.data_drives + 2; i++)
			drives_.push_back(std::make_unique<Drive>(i, blocks, false));
		for (auto &drive : drives_)
			devs_.push_back({drive.get()});
		fail_report().header = [](std::FILE *out) {
			for (const Mark &mark : marks())
				if (mark.count)
					std::fprintf(out, "%14lu %s\n", mark.count, mark.name.c_str());
		};
		machine_ = std::make_unique<Machine>(rng_, trace_);
		host_options() = {};
	}

	Amplification run()
	{
		Amplification a;

		open();
		run_requests(0, [this](Request &r) { return fill(r); });
		rot_headers();
		run_requests(static_cast<uint64_t>(o_.overwrites * static_cast<double>(cells_)), [this](Request &r) { return overwrite(r); });

		const auto before = look();
		const uint64_t began = machine_->now_ns();

		latencies_.clear();
		run_requests(static_cast<uint64_t>(o_.measured * static_cast<double>(cells_)), [this](Request &r) { return overwrite(r); });
		const auto after = look();
		const double seconds = static_cast<double>(machine_->now_ns() - began) / 1e9;
		const auto diff = [&](const char *name) { return static_cast<double>(after.at(name) - before.at(name)); };
		const double user = static_cast<double>(latencies_.size());

		for (const char *name : {"data_cells", "moved_cells", "node_cells", "header_cells", "parity_cells", "pad_cells"})
			a.parts[name] = diff(name) / user;
		a.total = diff("drives") / user;
		a.mapped_cells = cells_;
		a.segment_cells = o_.segments * o_.segment_blocks * o_.data_drives;
		a.writes = latencies_.size();
		a.checkpoints = static_cast<uint64_t>(diff("checkpoints"));
		a.emptied = static_cast<uint64_t>(diff("segments_emptied"));
		a.victim_live = diff("moved_cells") / diff("segments_emptied") / static_cast<double>(o_.segment_blocks * o_.data_drives);
		std::sort(latencies_.begin(), latencies_.end());
		a.p50_us = percentile(0.5);
		a.p99_us = percentile(0.99);
		a.p999_us = percentile(0.999);
		a.max_us = percentile(1);
		a.kiops = user / seconds / 1e3;
		close();
		return a;
	}

private:
	struct Request : UserMemory {
		pav_req req{};
		Bench *bench = nullptr;
		uint64_t began_ns = 0;
	};

	template <typename F> void as_process(const char *name, F body)
	{
		bool done = false;

		machine_->spawn(name, [&done, &body] {
			body();
			done = true;
		});
		while (!done)
			if (!machine_->step())
				fail("%s: nothing can happen any more; waiting: %s", name, machine_->stuck().c_str());
	}

	void open()
	{
		std::vector<pav_drive_arg> args;
		pav_create_params create{};
		pav_open_params params{};
		pav_err err{};
		int error = 0;

		for (pav_dev &dev : devs_)
			args.push_back({&dev, false});
		std::snprintf(create.name, sizeof create.name, "amplification");
		create.data_drives = o_.data_drives;
		create.segment_blocks = o_.segment_blocks;
		create.reserve_percent = o_.reserve_percent;
		params.streams = o_.streams;
		params.cache_nodes = o_.cache_nodes;
		as_process("open", [&] {
			pav_group_info info{};
			pav_volume_ident ident{};

			error = pav_engine_create(args.data(), static_cast<unsigned int>(args.size()), &create, &err);
			if (!error)
				error = pav_engine_open(args.data(), static_cast<unsigned int>(args.size()), &params, &engine_, &err);
			if (error)
				return;
			pav_engine_info(engine_, &info);
			cells_ = info.capacity_cells / max_cells * max_cells * o_.fill_percent / 100;
			std::snprintf(ident.name, sizeof ident.name, "v");
			error = pav_volume_create(engine_, &ident, (cells_ + max_cells - 1) / max_cells * max_cells, &volume_, &err);
		});
		if (error)
			fail("the group cannot be made: %d: %s", error, err.text);
	}

	void close()
	{
		pav_err err{};
		int error = 0;

		as_process("close", [&] { error = pav_engine_close(engine_, &err); });
		if (error)
			fail("close fails with %d: %s", error, err.text);
	}

	bool fill(Request &r)
	{
		r.req.lba = next_;
		r.req.cells = static_cast<unsigned int>(std::min<uint64_t>(max_cells, cells_ - next_));
		next_ += r.req.cells;
		return r.req.cells != 0;
	}

	// Silently: nobody knows of it until a segment is to be emptied.
	void rot_headers()
	{
		for (unsigned int i = 0; i < 2 && o_.rotten_percent; i++)
			for (uint64_t block = first_segment; block < drives_[i]->blocks(); block++) {
				const CellRef cell = drives_[i]->peek(block);
				uint32_t magic = 0;

				if (cell)
					std::memcpy(&magic, cell->data(), sizeof magic);
				if (magic == PAV_STRIPE_MAGIC && rng_.percent(o_.rotten_percent))
					drives_[i]->rot(block, rng_);
			}
	}

	bool overwrite(Request &r)
	{
		const uint64_t hot = cells_ * o_.hot_space / 100;

		if (!left_)
			return false;
		left_--;
		r.req.lba = rng_.percent(o_.hot_writes) ? rng_.below(hot) : hot + rng_.below(cells_ - hot);
		r.req.cells = 1;
		return true;
	}

	// @n requests, as many at once as the queue is deep; or as many as @next makes.
	template <typename F> void run_requests(uint64_t n, F next)
	{
		std::vector<Request> requests(o_.queue_depth);

		left_ = n;
		next_request_ = next;
		for (Request &r : requests) {
			r.bench = this;
			go_on(r);
		}
		while (in_flight_)
			if (!machine_->step())
				fail("nothing can happen any more; waiting: %s", machine_->stuck().c_str());
	}

	void go_on(Request &r)
	{
		r.req = pav_req{};
		r.cells = memory_.get();
		r.scattered = false;
		r.req.vol = volume_;
		r.req.op = PAV_WRITE;
		r.req.env.sim = static_cast<UserMemory *>(&r);
		r.req.done = [](pav_req *req) {
			Request &done = *static_cast<Request *>(static_cast<UserMemory *>(req->env.sim));

			done.bench->finish(done);
		};
		if (!next_request_(r))
			return;
		in_flight_++;
		machine_->after(1, [this, &r] {
			r.began_ns = machine_->now_ns();
			pav_submit(&r.req);
		});
	}

	void finish(Request &r)
	{
		if (r.req.error)
			fail("cell %lu+%u of %lu: a write of a block that is mapped, or fits, fails with %d", static_cast<uint64_t>(r.req.lba), r.req.cells, cells_,
			     r.req.error);
		in_flight_--;
		latencies_.push_back(machine_->now_ns() - r.began_ns);
		go_on(r);
	}

	double percentile(double p) const
	{
		return static_cast<double>(latencies_.at(static_cast<size_t>(p * static_cast<double>(latencies_.size() - 1)))) / 1e3;
	}

	std::map<std::string, uint64_t> look()
	{
		std::map<std::string, uint64_t> out;

		as_process("look", [&] {
			pav_engine_counters(engine_, [](void *ctx, const char *name, u64 value) {
				(*static_cast<std::map<std::string, uint64_t> *>(ctx))[name] = value;
			}, &out);
		});
		for (const auto &drive : drives_)
			out["drives"] += drive->stats().write_cells;
		return out;
	}

	AmplificationOptions o_;
	Rng rng_;
	Trace trace_;
	std::vector<std::unique_ptr<Drive>> drives_;
	std::vector<pav_dev> devs_;
	std::unique_ptr<uint8_t, void (*)(void *)> memory_;
	std::unique_ptr<Machine> machine_;
	pav_engine *engine_ = nullptr;
	pav_volume *volume_ = nullptr;
	uint64_t cells_ = 0, next_ = 0, left_ = 0, in_flight_ = 0;
	std::function<bool(Request &)> next_request_;
	std::vector<uint64_t> latencies_;	// of every write since it was last cleared
};

}  // namespace

Amplification measure_amplification(const AmplificationOptions &options)
{
	return Bench(options).run();
}

}  // namespace pav::sim
