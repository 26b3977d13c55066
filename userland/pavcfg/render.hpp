// SPDX-License-Identifier: GPL-2.0
//
// What the show commands print: tables for people, JSON for programs.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pav/array.hpp"

namespace pav::cli {

// Columns as wide as they need to be, in the style of the array's guide. Counts characters, not bytes, of UTF-8.
class Table {
  public:
    explicit Table(std::vector<std::string> columns) : columns_(std::move(columns)) {}
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    bool empty() const { return rows_.empty(); }
    std::string text() const;

  private:
    std::vector<std::string> columns_;
    std::vector<std::vector<std::string>> rows_;
};

std::string groups_text(const Snapshot &snap, const std::string &only);
std::string drives_text(const Snapshot &snap, const std::vector<DriveLabel> &closed, const std::string &group);
std::string tasks_text(const std::vector<GroupView> &groups, const std::string &only);
std::string progress_text(const Task &task);  // of one that runs: "45.0 %, 120 MB/s, 3 min left"
std::string volumes_text(const Snapshot &snap, const std::string &group);
std::string volume_text(const VolumeView &volume);
std::string controllers_text(const Snapshot &snap);
std::string ports_text(const Snapshot &snap);
std::string hosts_text(const Snapshot &snap);
std::string status_text(const Snapshot &snap);
std::string mapped_network_text(const Snapshot &snap, Protocol protocol);

nlohmann::json groups_json(const Snapshot &snap, const std::string &only);
nlohmann::json drives_json(const Snapshot &snap, const std::vector<DriveLabel> &closed, const std::string &group);
nlohmann::json tasks_json(const std::vector<GroupView> &groups, const std::string &only);
nlohmann::json volumes_json(const Snapshot &snap, const std::string &group);
nlohmann::json volume_json(const VolumeView &volume);
nlohmann::json controllers_json(const Snapshot &snap);
nlohmann::json ports_json(const Snapshot &snap);
nlohmann::json hosts_json(const Snapshot &snap);
nlohmann::json status_json(const Snapshot &snap);
nlohmann::json mapped_network_json(const Snapshot &snap, Protocol protocol);

// What an administrator should know: one sentence each. Empty: all is well.
std::vector<std::string> problems_of(const Snapshot &snap);

nlohmann::json error_json(const Error &error);
nlohmann::json outcome_json(const Outcome &outcome, bool dry_run);

}  // namespace pav::cli
