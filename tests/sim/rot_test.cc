// SPDX-License-Identifier: GPL-2.0
// What rots on the drives and nobody notices, told one by one: headers above all, without which nobody knows that there is a stripe.
#include "scenario.h"

extern "C" {
#include "format/format.h"
}

#include <algorithm>
#include <set>
#include <vector>

namespace pav::sim {
namespace {

class Rot : public Scenario {
protected:
	explicit Rot(uint64_t segments) : Scenario(6, segments, segment_blocks, true) {}
	~Rot() override
	{
		if (engine_)
			close();
	}

	static constexpr uint64_t segment_blocks = 16;

	struct Place {
		unsigned int drive;
		uint64_t block;
		size_t byte;
	};
	// Of all stripes that the drives tell of, dead or alive; of metadata, or of data.
	std::vector<Place> headers(bool nodes)
	{
		std::vector<Place> found;

		for (unsigned int drive = 0; drive < drives_.size(); drive++)
			for (uint64_t block = segments_begin; block < drives_[drive]->blocks(); block++) {
				const CellRef cell = drives_[drive]->peek(block);
				const auto *h = cell ? reinterpret_cast<const pav_d_stripe *>(cell->data()) : nullptr;

				if (h && h->magic == PAV_STRIPE_MAGIC && !pav_stripe_check(h, segment_blocks) && pav_stripe_of_nodes(h) == nodes)
					found.push_back({drive, block, 0});
			}
		return found;
	}
	bool busy() const
	{
		return std::any_of(drives_.begin(), drives_.end(), [](const auto &drive) { return drive->commands_in_flight() > 0; });
	}
	// One byte of each is another from now on. Nobody reads or writes meanwhile.
	void rot(const std::vector<Place> &places)
	{
		run_until([this] { return !busy(); });
		for (unsigned int drive = 0; drive < drives_.size(); drive++) {
			std::vector<CellRef> content = drives_[drive]->snapshot();

			for (const Place &p : places)
				if (p.drive == drive) {
					auto cell = std::make_shared<Cell>(content[p.block] ? *content[p.block] : Cell{});

					(*cell)[p.byte] ^= 0x5a;
					content[p.block] = cell;
				}
			drives_[drive]->restore(content);
		}
	}
	pav_task_info scrub_task()
	{
		pav_task_info rebuild{}, task{};

		as_process([&] { pav_engine_tasks(engine_, &rebuild, &task); });
		return task;
	}
	void begin_scrub()
	{
		pav_err err{};

		as_process([&] { ASSERT_EQ(pav_engine_scrub(engine_, true, &err), 0) << err.text; });
	}
	// Until it has finished with the first @segments.
	void await_scrub(uint64_t segments)
	{
		do {
			run_for(ms);
			ASSERT_TRUE(scrub_task().running);
		} while (scrub_task().done < segments);
	}
	void end_scrub()
	{
		pav_task_info task{};

		for (unsigned int looks = 0; looks < 10'000 && (!task.started || task.finished < task.started); looks++) {
			run_for(10 * ms);
			task = scrub_task();
		}
		EXPECT_GE(task.finished, task.started);
		EXPECT_EQ(task.lost, 0U);
	}
};

// Each header, and one more cell of its row, of data or parity, by turns: at the byte that is the test's parameter.
class RotInRows : public Rot, public testing::WithParamInterface<size_t> {
protected:
	RotInRows() : Rot(60) {}
};

TEST_P(RotInRows, AScrubHealsHeadersAndOneMoreCell)
{
	create(4, 6, 0, 4096);
	ASSERT_EQ(write(0, 512), 0);
	checkpoint();
	run_for(100 * ms);
	std::vector<Place> places = headers(false);
	const size_t stripes = places.size();

	ASSERT_GT(stripes, 20U);
	for (size_t i = 0; i < stripes; i++)
		places.push_back({static_cast<unsigned int>((places[i].drive + 1 + i % 5) % 6), places[i].block, GetParam()});
	rot(places);
	begin_scrub();
	end_scrub();
	close();
	const auto there = contents();

	for (unsigned int a = 0; a < 6; a++) {
		cut(100);
		restore(there);
		open({a, (a + 1) % 6});
		verify();
	}
}

INSTANTIATE_TEST_SUITE_P(AtByte, RotInRows, testing::Values(0U, 3U, 4U, 20U, 60U, 64U, 4095U));

class RotInScrub : public Rot {
protected:
	RotInScrub() : Rot(60) {}
};

// Stopped, and asked for anew before the scrub that was under way has seen that: the new one is to look at everything again.
TEST_F(RotInScrub, OneThatIsAskedForAnewBeginsAnew)
{
	pav_err err{};

	create(4, 6, 0, 4096);
	ASSERT_EQ(write(0, 1500), 0);
	checkpoint();
	run_for(100 * ms);
	for (auto &drive : drives_)
		drive->latency.read = 10 * ms;
	begin_scrub();
	await_scrub(50);	// those with low numbers, which hold something, come last
	const std::vector<Place> places = headers(false);

	rot(places);
	run_until([this] { return busy(); });	// it reads the next segment
	as_process([&] {
		ASSERT_EQ(pav_engine_scrub(engine_, false, &err), 0) << err.text;
		ASSERT_EQ(pav_engine_scrub(engine_, true, &err), 0) << err.text;
	});
	do
		run_for(10 * ms);
	while (scrub_task().running);
	EXPECT_EQ(headers(false).size(), places.size());
}

// The last row of a segment of metadata reaches three drives late. The checkpoint has gone on to the next segment by then, and a scrub comes by: it finds a stripe that is torn,
// and by the time it has read all of it the map says that something lies there.
TEST_F(RotInScrub, WhatIsBeingWrittenIsLeftAlone)
{
	constexpr uint64_t leaf = 256;
	unsigned int met = 0;

	pav_stall_limit = 0;
	params_.cache_nodes = 4096;
	create(4, 6, 0, 1 << 20);
	for (uint64_t round = 0; round < 160; round++) {
		std::vector<uint64_t> lbas;
		std::set<uint64_t> late;	// segments
		bool done = false;

		for (uint64_t i = 0; i < 60 + round % 60; i++)
			lbas.push_back(i * leaf);
		ASSERT_EQ(write(lbas), 0);
		for (auto &drive : drives_)
			drive->latency.read = 10 * ms;
		begin_scrub();
		await_scrub(1);
		ASSERT_EQ(write(lbas), 0);
		for (unsigned int drive = 0; drive < 6; drive++)
			drives_[drive]->on_submit = [&, drive](const Drive::Command &c) {
				const uint64_t segment = (c.block - segments_begin) / segment_blocks;
				const bool last_row = c.block >= segments_begin && (c.block + c.cells - segments_begin) % segment_blocks == 0;
				Latency &latency = drives_[drive]->latency;

				latency.write = c.op == PAV_IO_WRITE && last_row && drive < 3 ? 10 * second : 20'000;
				if (latency.write > second)
					late.insert(segment);
				latency.read = c.op == PAV_IO_READ && drive == 5 && late.count(segment) ? 20 * second : 20'000;
			};
		machine_->spawn("checkpoint", [&] {
			EXPECT_EQ(pav_engine_checkpoint(engine_), 0);
			done = true;
		});
		run_until([&] { return done || !late.empty(); });
		met += !late.empty();
		end_scrub();
		run_until([&] { return done; });
		for (auto &drive : drives_) {
			drive->on_submit = nullptr;
			drive->latency.read = drive->latency.write = 20'000;
		}
	}
	EXPECT_GT(met, 10U);
	verify();
}

class RotInMetadata : public Rot {
protected:
	RotInMetadata() : Rot(100) {}
};

// Metadata is moved out of sparse segments by the headers in them. What cannot be found keeps its segment, and room becomes short.
TEST_F(RotInMetadata, TakesNoRoomForEver)
{
	constexpr uint64_t leaf = 256, hot = 50, cold = 300, cells = 8;
	std::vector<uint64_t> lbas;

	params_.cache_nodes = 4096;
	create(4, 6, 0, 1 << 20);
	for (uint64_t i = 0; i < cold * cells; i++)
		lbas.push_back((hot + i / cells) * leaf + i % cells);
	ASSERT_EQ(write(lbas), 0);
	for (uint64_t round = 0; round < cold; round++) {
		// Leaves that change each time, and among them one that changes once. The garbage collector has nothing to move, and changes none.
		lbas.clear();
		for (uint64_t i = 0; i < hot; i++)
			lbas.push_back(i * leaf);
		ASSERT_EQ(write(lbas), 0) << "in round " << round;
		ASSERT_EQ(unmap({(hot + round) * leaf}), 0) << "in round " << round;
		as_process([&] { ASSERT_EQ(pav_engine_checkpoint(engine_), 0) << "in round " << round; });
		run_for(100 * ms);
		rot(headers(true));
	}
	// Where room is short, data is moved until some is won.
	EXPECT_LT(counter("moved_cells"), cold * cells);
	verify();
	cut(100);
	open();
	verify();
	check_counts();
}

}  // namespace
}  // namespace pav::sim
