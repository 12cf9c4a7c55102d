/* Serve: `fanout serve`, and what a role that serves a little more shares with it. */
#ifndef ROLE_SERVE_H
#define ROLE_SERVE_H

#include "http/route.h"

struct gateway_role;

/* What every gateway answers; ends with a NULL pattern. */
extern const struct route serve_routes[];

/* Reads the settings, says what is wrong with them, and runs. Returns the exit code. */
int serve_run(const struct gateway_role *role, int argc, char **argv);

#endif
