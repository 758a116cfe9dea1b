/* One function per verb. argv stands behind the verb's name; the return value is the exit status. */
#ifndef SG_CLI_VERBS_H
#define SG_CLI_VERBS_H

int sg_verb_check(int argc, char **argv);
int sg_verb_eval(int argc, char **argv);
int sg_verb_labels(int argc, char **argv);
int sg_verb_screen(int argc, char **argv);
int sg_verb_guard(int argc, char **argv);
int sg_verb_policy(int argc, char **argv);
int sg_verb_model(int argc, char **argv);
int sg_verb_pull(int argc, char **argv);
int sg_verb_bench(int argc, char **argv);
int sg_verb_dev(int argc, char **argv);
/* Of the family "screen". */
int sg_verb_screen_certify(int argc, char **argv);
int sg_verb_screen_learn(int argc, char **argv);
int sg_verb_screen_watch(int argc, char **argv);
/* Of the family "dev". */
int sg_verb_dev_logits(int argc, char **argv);
int sg_verb_dev_normalise(int argc, char **argv);
int sg_verb_dev_attack(int argc, char **argv);
int sg_verb_make_model(int argc, char **argv);

#endif
