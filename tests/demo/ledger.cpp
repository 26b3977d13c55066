// SPDX-License-Identifier: GPL-2.0
//
// ledger: writes stamped 4 KiB blocks with O_DIRECT and puts each acknowledgement on record; later tells whether all of them kept.
//
//   ledger write DEVICE LEDGER FIRST BLOCKS THREADS    writes until SIGTERM; each thread has a share of the blocks to itself
//   ledger check DEVICE LEDGER FIRST BLOCKS THREADS    reads all blocks; prints a line of JSON; exit code 1 if anything is wrong
//
// The ledger lies where no crash under test reaches it. A line of it, THREAD BLOCK NUMBER NANOSECONDS, is appended after the write was
// acknowledged and before the thread's next one. A thread numbers its writes one by one and has one in flight, so a block may hold
//
//   - the last write to it that is in the ledger, or
//   - the write after the thread's last one in the ledger: it was in flight, or its line was never written.
//
// Anything older is a lost write; a block that is no stamp of ours, or not all of one, is a miscompare. The first line, a random number, is
// in each stamp: what an earlier run left on the drive cannot pass.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t block_bytes = 4096;
constexpr std::uint64_t magic = 0x6c6564676572'7631;

struct alignas(block_bytes) Block {
    std::array<std::uint64_t, block_bytes / sizeof(std::uint64_t)> words{};
    bool operator==(const Block &) const = default;
};

struct Stamp {
    std::uint64_t run, block, thread, number;
};

// Every word depends on the whole stamp, so that no part of two writes can be taken for one.
void fill(Block &b, const Stamp &s)
{
    b.words = {magic, s.run, s.block, s.thread, s.number};
    std::mt19937_64 random(s.run ^ s.block * 0x9e3779b97f4a7c15 ^ s.thread << 56 ^ s.number * 0xbf58476d1ce4e5b9);
    std::generate(b.words.begin() + 5, b.words.end(), std::ref(random));
}

class File {
  public:
    File(const std::string &name, int flags) : name_(name), fd_(::open(name.c_str(), flags | O_CLOEXEC, 0644))
    {
        if (fd_ < 0)
            fail("open");
    }
    ~File() { ::close(fd_); }
    File(const File &) = delete;
    File &operator=(const File &) = delete;

    void read_block(Block &b, std::uint64_t at) const
    {
        if (::pread(fd_, &b, block_bytes, static_cast<off_t>(at * block_bytes)) != static_cast<ssize_t>(block_bytes))
            fail("read block " + std::to_string(at) + " of");
    }
    void write_block(const Block &b, std::uint64_t at) const
    {
        if (::pwrite(fd_, &b, block_bytes, static_cast<off_t>(at * block_bytes)) != static_cast<ssize_t>(block_bytes))
            fail("write block " + std::to_string(at) + " of");
    }
    void append(const std::string &line) const
    {
        if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
            fail("append to");
    }

  private:
    [[noreturn]] void fail(const std::string &tried) const { throw std::system_error(errno, std::generic_category(), tried + " " + name_); }

    std::string name_;
    int fd_;
};

struct Ledger {
    std::uint64_t run = 0, lines = 0;
    std::vector<std::uint64_t> last_of_thread;                      // number of a thread's last acknowledged write; 0: none
    std::vector<std::uint64_t> last_of_block;                       // of a block's
};

struct Job {
    std::string device, ledger;
    std::uint64_t first, blocks, threads;

    std::uint64_t share() const { return blocks / threads; }
};

Ledger load(const Job &job)
{
    Ledger l;
    l.last_of_thread.resize(job.threads);
    l.last_of_block.resize(job.blocks);
    std::ifstream in(job.ledger);
    if (!(in >> l.run))
        return l;
    for (std::uint64_t thread = 0, block = 0, number = 0, ns = 0; in >> thread >> block >> number >> ns; l.lines++) {
        if (thread >= job.threads || block / job.share() != thread || block >= job.blocks || number != l.last_of_thread[thread] + 1)
            throw std::runtime_error(job.ledger + ": line " + std::to_string(l.lines + 2) + " is not of this job");
        l.last_of_thread[thread] = l.last_of_block[block] = number;
    }
    if (!in.eof())
        throw std::runtime_error(job.ledger + ": line " + std::to_string(l.lines + 2) + " cannot be read");
    return l;
}

volatile std::sig_atomic_t stop = 0;

int write(const Job &job)
{
    Ledger l = load(job);
    const File device(job.device, O_RDWR | O_DIRECT), out(job.ledger, O_WRONLY | O_CREAT | O_APPEND);
    if (!l.run) {
        l.run = std::random_device()() | 1ULL << 32;
        out.append(std::to_string(l.run) + "\n");
    }
    std::signal(SIGTERM, [](int) { stop = 1; });
    std::mutex lock;    // of the ledger, and of error
    std::string error;
    auto work = [&](std::uint64_t thread) {
        try {
            std::mt19937_64 random(l.run + thread * 1000003 + l.last_of_thread[thread]);
            Block b;
            for (std::uint64_t number = l.last_of_thread[thread] + 1; !stop; number++) {
                const std::uint64_t block = thread * job.share() + random() % job.share();
                fill(b, {l.run, block, thread, number});
                device.write_block(b, job.first + block);
                const auto now = std::chrono::steady_clock::now().time_since_epoch();
                const std::lock_guard guard(lock);
                out.append(std::to_string(thread) + " " + std::to_string(block) + " " + std::to_string(number) + " " +
                           std::to_string(std::chrono::nanoseconds(now).count()) + "\n");
            }
        } catch (const std::exception &e) {
            const std::lock_guard guard(lock);
            error = e.what();
            stop = 1;
        }
    };
    {
        std::vector<std::jthread> threads;
        for (std::uint64_t t = 0; t < job.threads; t++)
            threads.emplace_back(work, t);
    }
    if (!error.empty())
        throw std::runtime_error(error);
    return 0;
}

int check(const Job &job)
{
    const Ledger l = load(job);
    const File device(job.device, O_RDONLY | O_DIRECT);
    std::uint64_t written = 0, in_flight = 0, lost = 0, miscompares = 0;
    Block b, want;
    for (std::uint64_t i = 0; i < job.blocks; i++) {
        device.read_block(b, job.first + i);
        const std::uint64_t thread = i / job.share(), last = l.last_of_block[i], number = b.words[4];
        written += last != 0;
        fill(want, {l.run, i, thread, number});
        if (b == want && number == last) {
            continue;
        } else if (b == want && number == l.last_of_thread[thread] + 1) {
            in_flight++;
        } else if (b == Block() || (b == want && number < last)) {
            lost += last != 0;     // zeroes where nothing was written are right
        } else {
            miscompares++;
        }
    }
    std::printf("{\"acknowledged\": %ju, \"blocks\": %ju, \"in_flight\": %ju, \"lost\": %ju, \"miscompares\": %ju}\n", l.lines, written, in_flight, lost,
                miscompares);
    return lost || miscompares;
}

}  // namespace

int main(int argc, char **argv)
try {
    const std::string verb = argc == 7 ? argv[1] : "";
    if (verb != "write" && verb != "check") {
        std::fputs("usage: ledger write|check DEVICE LEDGER FIRST BLOCKS THREADS\n", stderr);
        return 2;
    }
    const Job job{argv[2], argv[3], std::stoull(argv[4]), std::stoull(argv[5]), std::stoull(argv[6])};
    if (!job.threads || job.blocks % job.threads)
        throw std::runtime_error("BLOCKS must be a multiple of THREADS");
    return verb == "write" ? write(job) : check(job);
} catch (const std::exception &e) {
    std::fprintf(stderr, "ledger: %s\n", e.what());
    return 1;
}
