// SPDX-License-Identifier: GPL-2.0
//
// nvmet says everything with an errno, and the same one means different things at different files.
#include "remedy.hpp"

#include <fmt/core.h>

#include <cerrno>

#include "attrs.hpp"

namespace pav::nvmet {

namespace {

std::string value_of(Tree &tree, const std::string &file)
{
    auto raw = tree.read(file);
    return raw ? normalise(file, *raw) : std::string("?");
}

std::string for_link(Tree &tree, const Step &step, int err)
{
    std::string port = step.path.substr(0, step.path.find('/', sizeof("ports/") - 1));
    std::string ip = value_of(tree, port + "/addr_traddr");
    std::string service = value_of(tree, port + "/addr_trsvcid");
    std::string type = value_of(tree, port + "/addr_trtype");
    switch (err) {
    case EADDRNOTAVAIL:
        return fmt::format("IP {} is not on this machine: bring the interface up or correct addr_traddr of {}", ip, port);
    case EADDRINUSE:
        return fmt::format("something else listens on {}:{}: stop it or give {} another addr_trsvcid", ip, service, port);
    case ENODEV:
        return fmt::format("no RDMA device stands behind {}: load the driver of the network card, or add soft-RoCE "
                           "(rdma link add NAME type rxe netdev INTERFACE)", ip);
    case EINVAL:
        return fmt::format("the transport \"{}\" is not there or the address {} {} does not suit it: load nvmet-{}", type, ip,
                           service, type);
    case EACCES:
    case EPERM: return "run it as root, in the initial network namespace";
    case EEXIST: return "it is linked already";
    default: return "see dmesg for nvmet's own words";
    }
}

std::string for_subsystem_attr(const Step &step, int err)
{
    if (err != EINVAL)
        return {};
    if (step.path.ends_with("/attr_allow_any_host"))
        return "hosts are listed: unlink every allowed host first";
    if (step.path.ends_with("/attr_cntlid_min") || step.path.ends_with("/attr_cntlid_max"))
        return "cntlid_min must not be above cntlid_max";
    for (const char *file : {"/attr_serial", "/attr_model", "/attr_version"})
        if (step.path.ends_with(file))
            return "a host has connected, which fixes it: remove the subsystem and create it again";
    return "the kernel does not take this value";
}

std::string for_namespace_attr(const Step &step, int err)
{
    if (err == EBUSY || (err == EINVAL && step.path.ends_with("/buffered_io")))
        return "the namespace is enabled: disable it first";
    return err == EINVAL ? "the kernel does not take this value" : "";
}

std::string for_enable(int err)
{
    switch (err) {
    case ENOENT: return "its device does not exist: create the volume or correct device_path";
    case ENOTBLK: return "its device_path is not a block device";
    case ENXIO:
    case ENODEV: return "its device has no driver or is gone";
    case EBUSY: return "its device is held exclusively by something else (mounted, in md, LVM): release it";
    case EROFS:
    case EACCES:
    case EPERM: return "its device cannot be opened for writing";
    case EINVAL: return "the subsystem is full, or the device does not suit nvmet: see dmesg";
    default: return {};
    }
}

}  // namespace

std::string remedy_for(Tree &tree, const Step &step, int err)
{
    if (err == ESTALE)
        return "somebody else changed it in the meantime: plan again";
    if (err == EROFS && step.kind != StepKind::enable_namespace)
        return "mount configfs for writing";

    std::string text;
    switch (step.kind) {
    case StepKind::link_subsystem: return for_link(tree, step, err);
    case StepKind::allow_host:
        if (err == EINVAL)
            return "allow_any_host is set: switch it off first";
        break;
    case StepKind::set_subsystem_attr: text = for_subsystem_attr(step, err); break;
    case StepKind::set_namespace_attr: text = for_namespace_attr(step, err); break;
    case StepKind::set_port_attr:
        if (err == EACCES)
            return "the port serves subsystems: unlink them first";
        if (err == EINVAL)
            return "the kernel does not take this value";
        break;
    case StepKind::enable_namespace: text = for_enable(err); break;
    case StepKind::revalidate_size:
        if (err == EINVAL)
            return "the namespace is not enabled: enable it first";
        break;
    case StepKind::remove_host:
        if (err == EBUSY)
            return "a subsystem still allows this host: unlink it there first";
        break;
    case StepKind::remove_subsystem:
        if (err == EBUSY)
            return "a port still serves it: unlink it there first";
        if (err == ENOTEMPTY)
            return "it still has namespaces or allowed hosts: remove them first";
        break;
    case StepKind::remove_port:
        if (err == ENOTEMPTY)
            return "it still has subsystems, referrals or ANA groups: remove them first";
        break;
    case StepKind::make_port:
    case StepKind::make_subsystem:
    case StepKind::make_namespace:
    case StepKind::make_ana_group:
    case StepKind::make_host:
        if (err == EEXIST)
            return "somebody else made it in the meantime: plan again";
        if (err == EINVAL)
            return "the kernel does not take this name or number";
        break;
    default: break;
    }
    if (!text.empty())
        return text;
    switch (err) {
    case EACCES:
    case EPERM: return "run it as root";
    case ENOENT:
        return step.new_value.empty() ? "it is gone: plan again"
                                      : "this kernel's nvmet has no such attribute, or the object is gone";
    default: return "see dmesg for nvmet's own words";
    }
}

}  // namespace pav::nvmet
