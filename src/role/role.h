/* The roles: what the first word behind `fanout` can be. Each is handed its own argv, starting
 * with that word, and returns the exit code: 0 fine, 1 failed, 2 wrong usage. */
#ifndef ROLE_ROLE_H
#define ROLE_ROLE_H

int role_bench(int argc, char **argv);
int role_config(int argc, char **argv);
int role_coordinator(int argc, char **argv);
int role_demo(int argc, char **argv);
int role_pub(int argc, char **argv);
int role_serve(int argc, char **argv);
int role_sub(int argc, char **argv);

#endif
