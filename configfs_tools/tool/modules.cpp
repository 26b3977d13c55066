// SPDX-License-Identifier: GPL-2.0
#include "modules.hpp"

#include <libkmod.h>

#include <cerrno>
#include <memory>

namespace pav::nvmet::tool {

Result<void> load_module(const std::string &name)
{
    auto fail = [&](int err, std::string reason, std::string remedy) {
        return Error{"load module", name, err, std::move(reason), std::move(remedy)};
    };
    std::unique_ptr<kmod_ctx, kmod_ctx *(*)(kmod_ctx *)> ctx(kmod_new(nullptr, nullptr), kmod_unref);
    if (!ctx)
        return fail(ENOMEM, "", "");
    kmod_list *found = nullptr;
    int r = kmod_module_new_from_lookup(ctx.get(), name.c_str(), &found);
    std::unique_ptr<kmod_list, int (*)(kmod_list *)> list(found, kmod_module_unref_list);
    if (r < 0)
        return fail(-r, "", "");
    if (!found)
        return fail(ENOENT, "this kernel has no such module", "install the kernel's modules (linux-image), then depmod");
    for (kmod_list *item = found; item; item = kmod_list_next(found, item)) {
        std::unique_ptr<kmod_module, kmod_module *(*)(kmod_module *)> module(kmod_module_get_module(item),
                                                                              kmod_module_unref);
        r = kmod_module_probe_insert_module(module.get(), KMOD_PROBE_APPLY_BLACKLIST_ALIAS_ONLY, nullptr, nullptr, nullptr,
                                            nullptr);
        if (r < 0)
            return fail(-r, "", r == -EPERM ? "run it as root" : "see dmesg for the kernel's own words");
    }
    return {};
}

}  // namespace pav::nvmet::tool
