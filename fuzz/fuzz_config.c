/* Any bytes as a settings file: a snapshot or faults, never a crash or a leak; and what was
 * accepted is accepted again in the form `fanout config --yaml` prints. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/check.h"
#include "ctl/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_report report = {0}, again_report = {0};
    struct config *config = NULL, *again = NULL;
    struct bytes first = {0}, second = {0};
    int err = config_load_text("fuzz.yaml", data, size, &config, &report);
    if (err == 0) {
        CHECK(config_print(config, CONFIG_TEXT, &first) == 0);
        CHECK(config_print(config, CONFIG_JSON, &first) == 0);
        bytes_fini(&first);
        CHECK(config_print(config, CONFIG_YAML, &first) == 0);
        /* A password is not printed, and a user name without one is a fault. */
        if (!config->redis.password) {
            CHECK(
                config_load_text("again.yaml", first.data, first.len, &again, &again_report) == 0);
            CHECK(config_print(again, CONFIG_YAML, &second) == 0);
        }
    } else {
        CHECK(err == -EINVAL);
        CHECK(report.faults.count > 0);
    }
    config_free(config);
    config_free(again);
    bytes_fini(&first);
    bytes_fini(&second);
    config_report_fini(&report);
    config_report_fini(&again_report);
    return 0;
}
