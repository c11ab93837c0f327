// Ctrl-C as a question that a loop can ask, for commands that stop an answer and go on.
#pragma once

namespace ferry::cmd {

// From now on SIGINT only sets a flag.
void catch_interrupts();
bool interrupted();
void clear_interrupt();

// Readable while interrupted() holds, for a poll() that waits for something else as well: with
// several threads, it need not be the waiting one that a signal wakes. REQUIRES: catch_interrupts()
int interrupt_descriptor();

}  // namespace ferry::cmd
