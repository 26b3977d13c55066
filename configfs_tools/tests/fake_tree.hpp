// SPDX-License-Identifier: GPL-2.0
//
// nvmet's configfs in memory, for tests. It refuses what the kernel refuses, with the kernel's errno, and knows nothing of
// the library's way of doing things. Besides, it watches: what the kernel allows and a host would suffer from is noted in
// violations().
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "pav/nvmet.hpp"

namespace pav::nvmet::test {

class FakeTree final : public Tree {
  public:
    FakeTree();

    // The machine around nvmet.
    std::set<std::string> local_ips;         // where a port may listen
    std::set<std::string> rdma_ips;          // of those, the ones with an RDMA device
    std::set<std::string> devices;           // block devices that exist
    std::set<std::string> connected;         // subsystems a host has connected to: serial, model, version are fixed

    // The n-th change since construction (changes(): the next) is refused with `err`; later ones work again.
    void fail_at(std::size_t n, int err)
    {
        fail_at_ = n;
        fail_err_ = err;
    }
    std::size_t changes() const { return changes_; }          // attempted since construction
    const std::vector<std::string> &violations() const { return violations_; }
    std::string dump() const;                                 // everything, one node a line

    Result<std::vector<Entry>> list(const std::string &dir) override;
    Result<std::string> read(const std::string &file) override;
    Result<void> write(const std::string &file, const std::string &value) override;
    Result<void> make_dir(const std::string &dir) override;
    Result<void> remove_dir(const std::string &dir) override;
    Result<void> make_link(const std::string &target, const std::string &link) override;
    Result<void> remove_link(const std::string &link) override;
    Result<std::string> link_target(const std::string &link) override;

  private:
    struct Node {
        Type type;
        std::string value;  // of a file: what stands there; of a link: its target
        bool fixed = false; // a directory that the kernel made along with its parent
    };

    int injected();
    bool has(const std::string &path) const { return nodes_.contains(path); }
    std::vector<std::string> children(const std::string &dir) const;
    std::string value(const std::string &file) const { return nodes_.at(file).value; }
    void add_file(const std::string &file, const std::string &value) { nodes_[file] = {Type::file, value, false}; }
    void add_dir(const std::string &dir, bool fixed) { nodes_[dir] = {Type::dir, "", fixed}; }
    int write_subsystem(const std::string &dir, const std::string &file, std::string &value);
    int write_namespace(const std::string &dir, const std::string &file, std::string &value);
    int write_port(const std::string &dir, const std::string &file, const std::string &value);
    int enable_port(const std::string &port);
    bool reachable(const std::string &ns) const;
    void watch_enable(const std::string &ns);

    std::map<std::string, Node> nodes_;
    std::vector<std::string> violations_;
    std::size_t changes_ = 0;
    std::size_t fail_at_ = SIZE_MAX;
    int fail_err_ = 0;
    unsigned serials_ = 0;
};

}  // namespace pav::nvmet::test
