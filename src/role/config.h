/* `fanout config`: shows the effective configuration, or says what is wrong with it. */
#ifndef ROLE_CONFIG_H
#define ROLE_CONFIG_H

/* argv[0] is "config". Returns the exit code: 0 fine, 1 it could not be done, 2 there are faults.
 */
int role_config(int argc, char **argv);

#endif
