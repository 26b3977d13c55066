// SPDX-License-Identifier: GPL-2.0
//
// ledger: writes stamped 4 KiB blocks with O_DIRECT and puts each acknowledgement on record; later tells whether all of them kept.
//
//   ledger write DEVICE LEDGER FIRST BLOCKS THREADS [MOST]   writes until SIGTERM, up to MOST blocks at a time (1 if not given);
//                                                            each thread has a share of the blocks to itself
//   ledger check DEVICE LEDGER FIRST BLOCKS THREADS          reads all blocks; prints a line of JSON; exit code 1 if anything is wrong
//   ledger settle DEVICE LEDGER FIRST BLOCKS THREADS         the same, and puts on record what it found of writes in flight: what was
//                                                            read once must stay. Needed after writes that failed or were cut off.
//
// The ledger lies where no crash under test reaches it. A line of it, THREAD BLOCK NUMBER NANOSECONDS COUNT, is appended after the write
// of COUNT blocks was acknowledged and before the thread's next one. NANOSECONDS is 0 in the lines of "settle". A thread numbers its writes
// one by one and has one in flight, so a block may hold
//
//   - the last write to it that is in the ledger, or
//   - the write after the thread's last one in the ledger: it was in flight, or its line was never written. Of several blocks in flight
//     each may or may not hold it.
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
#include <iostream>
#include <mutex>
#include <random>
#include <span>
#include <sstream>
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
    std::uint64_t state = s.run ^ s.block * 0x9e3779b97f4a7c15 ^ s.thread << 56 ^ s.number * 0xbf58476d1ce4e5b9;
    std::generate(b.words.begin() + 5, b.words.end(), [&state] {    // splitmix64
        std::uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    });
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

    void read(std::span<Block> b, std::uint64_t at) const
    {
        done(::pread(fd_, b.data(), b.size_bytes(), static_cast<off_t>(at * block_bytes)), b, "read", at);
    }
    void write(std::span<const Block> b, std::uint64_t at) const
    {
        done(::pwrite(fd_, b.data(), b.size_bytes(), static_cast<off_t>(at * block_bytes)), b, "write", at);
    }
    void append(const std::string &line) const
    {
        if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
            fail("append to");
    }

  private:
    void done(ssize_t got, std::span<const Block> b, const char *tried, std::uint64_t at) const
    {
        if (got == static_cast<ssize_t>(b.size_bytes()))
            return;
        if (got >= 0)
            errno = EIO;    // a part of it is no answer to a request of whole blocks
        fail(std::string(tried) + " " + std::to_string(b.size()) + " blocks at " + std::to_string(at) + " of");
    }
    [[noreturn]] void fail(const std::string &tried) const { throw std::system_error(errno, std::generic_category(), tried + " " + name_); }

    std::string name_;
    int fd_;
};

struct Ledger {
    std::uint64_t run = 0, lines = 0;                               // lines: of acknowledged writes
    std::vector<std::uint64_t> last_of_thread;                      // number of a thread's last acknowledged write; 0: none
    std::vector<std::uint64_t> last_of_block;                       // of a block's
};

struct Job {
    std::string device, ledger;
    std::uint64_t first, blocks, threads, most;

    std::uint64_t share() const { return blocks / threads; }
};

Ledger load(const Job &job)
{
    Ledger l;
    l.last_of_thread.resize(job.threads);
    l.last_of_block.resize(job.blocks);
    std::ifstream in(job.ledger);
    std::string line;
    if (!std::getline(in, line))
        return l;
    l.run = std::stoull(line);
    for (std::uint64_t at = 2; std::getline(in, line); at++) {
        std::uint64_t thread = 0, block = 0, number = 0, ns = 0, count = 0;
        if (!(std::istringstream(line) >> thread >> block >> number >> ns >> count) || thread >= job.threads || !count ||
            block < thread * job.share() || block + count > (thread + 1) * job.share() ||
            (number != l.last_of_thread[thread] + 1 && (ns || number != l.last_of_thread[thread])))
            throw std::runtime_error(job.ledger + ": line " + std::to_string(at) + " is not of this job");
        l.last_of_thread[thread] = number;
        std::fill_n(l.last_of_block.begin() + static_cast<std::ptrdiff_t>(block), count, number);
        l.lines += ns != 0;
    }
    return l;
}

std::string line_of(std::uint64_t thread, std::uint64_t block, std::uint64_t number, std::uint64_t ns, std::uint64_t count)
{
    std::ostringstream out;
    out << thread << ' ' << block << ' ' << number << ' ' << ns << ' ' << count << '\n';
    return out.str();
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
            std::vector<Block> blocks(job.most);
            for (std::uint64_t number = l.last_of_thread[thread] + 1; !stop; number++) {
                // Half of the writes are of one block; none leaves the thread's share.
                const std::uint64_t in_share = random() % job.share(), first = thread * job.share() + in_share;
                const std::uint64_t count = random() % 2 ? 1 : std::min(1 + random() % job.most, job.share() - in_share);
                for (std::uint64_t i = 0; i < count; i++)
                    fill(blocks[i], {l.run, first + i, thread, number});
                device.write(std::span(blocks).first(count), job.first + first);
                const std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
                const std::string line = line_of(thread, first, number, static_cast<std::uint64_t>(now.count()), count);
                const std::lock_guard guard(lock);
                out.append(line);
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

int check(const Job &job, bool settle)
{
    constexpr std::uint64_t batch = 64;
    const Ledger l = load(job);
    const File device(job.device, O_RDONLY | O_DIRECT), out(job.ledger, settle ? O_WRONLY | O_APPEND : O_RDONLY);
    std::uint64_t written = 0, in_flight = 0, lost = 0, miscompares = 0;
    std::vector<Block> blocks(batch);
    Block want;
    std::string found;
    for (std::uint64_t i = 0; i < job.blocks; i++) {
        if (i % batch == 0)
            device.read(std::span(blocks).first(std::min(batch, job.blocks - i)), job.first + i);
        const Block &b = blocks[i % batch];
        const std::uint64_t thread = i / job.share(), last = l.last_of_block[i], number = b.words[4];
        written += last != 0;
        fill(want, {l.run, i, thread, number});
        if (b == want && number == last) {
            continue;
        } else if (b == want && number == l.last_of_thread[thread] + 1) {
            in_flight++;
            found += line_of(thread, i, number, 0, 1);
        } else if (b == Block() || (b == want && number < last)) {
            lost += last != 0;     // zeroes where nothing was written are right
        } else {
            miscompares++;
        }
    }
    if (settle && !found.empty())
        out.append(found);
    std::cout << "{\"acknowledged\": " << l.lines << ", \"blocks\": " << written << ", \"in_flight\": " << in_flight << ", \"lost\": " << lost
              << ", \"miscompares\": " << miscompares << "}\n";
    return lost || miscompares;
}

}  // namespace

int main(int argc, char **argv)
try {
    const std::string verb = argc == 7 || (argc == 8 && !std::strcmp(argv[1], "write")) ? argv[1] : "";
    if (verb != "write" && verb != "check" && verb != "settle") {
        std::fputs("usage: ledger write|check|settle DEVICE LEDGER FIRST BLOCKS THREADS [MOST]\n", stderr);
        return 2;
    }
    const Job job{argv[2], argv[3], std::stoull(argv[4]), std::stoull(argv[5]), std::stoull(argv[6]), argc == 8 ? std::stoull(argv[7]) : 1};
    if (!job.threads || job.blocks % job.threads)
        throw std::runtime_error("BLOCKS must be a multiple of THREADS");
    if (!job.most)
        throw std::runtime_error("MOST must be at least 1");
    return verb == "write" ? write(job) : check(job, verb == "settle");
} catch (const std::exception &e) {
    std::fprintf(stderr, "ledger: %s\n", e.what());
    return 1;
}
