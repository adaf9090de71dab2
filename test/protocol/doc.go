// Package protocol explores how content is collected while replicas are serving: every order
// of the steps of clients, replicas and collectors, with crashes, leases that run out and
// pauses, in small worlds. It is for tests only. docs/reliability.md says what has been
// explored, and what was found.
//
// A state is a value; a step makes another one from it. The steps are those that another
// process can notice: one operation of the storage, or one change in the memory of a replica.
// Explore takes all of them everywhere, and prints the shortest way to a state in which
// something is lost.
//
// # What clocks do
//
// There is no time. What the protocol waits for is an order of steps here, and each order
// stands for an assumption:
//
//   - A replica stops answering and writing before any collector takes it for gone: one step, in
//     which the lease runs out. Clocks run at about the same rate, and go on in suspend. The
//     collector waits for three leases after it has published, and a replica that has seen the
//     run says so before it renews its lease.
//   - What a replica had sent to the storage when its lease ran out, or when it crashed, takes
//     effect before a collector goes on without it, or never. The collector waits for five
//     minutes more.
//   - What a collector had sent when it stopped takes effect before any replica abandons the
//     run, or never. Replicas wait for the collector's own lease and five minutes.
//   - Between looking at a lease and sending a write or a delete nothing pauses: they are one
//     step. Such a pause would have to last for five minutes, and a process that is stopped for
//     one is killed (see internal/watchdog).
//   - What a replica has used it remembers for as long as the answer promises something: one step
//     ends both. It remembers a use before it asks which runs there are.
//   - A list of the storage shows what was written before, and a read too.
//
// # What is left out
//
// Writers that do not take part, and the questions that find them; descriptor caches; keys that
// collide; errors of the storage, which end a request, or a run, as a crash does.
package protocol
