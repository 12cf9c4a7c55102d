/* The embedded store does what every store of runs must do, in memory and on disk. */
#include "tests/unit/store/flow_db_rig.h"

int main(void)
{
    struct rig memory, disk;

    rig_init(&memory, false);
    int failed = flow_store_suite("flow_db in memory", &memory.port);
    rig_fini(&memory);
    rig_init(&disk, true);
    failed += flow_store_suite("flow_db on disk", &disk.port);
    rig_fini(&disk);
    return failed;
}
