/* Run index: every event that names a run is kept under run:{id} too, whoever published it.
 *
 * An event names its run by the string member "run_id". Messages of room clients name nothing, whatever
 * they say. Runs on the home shard's thread.
 */
#ifndef CORE_RUN_INDEX_H
#define CORE_RUN_INDEX_H

#include "base/bytes.h"

struct publication;
struct shard;

enum { RUN_ID_MAX = 128 };

/* Publishes the event in its run's channel, if it names one. Called before the publisher is answered, so
 * that events of a publisher who awaits each answer are in their order there, whatever their channels. */
void run_index(struct shard *shard, const struct publication *pub);

/* Is this the name of a run? */
bool run_id_check(struct span id);

#endif
