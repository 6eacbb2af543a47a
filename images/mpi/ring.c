/*
 * ring: is this one MPI world, and do its ranks exchange messages?
 *
 *   mpirun -np 6 ring
 *
 * A token goes once around all ranks and collects their numbers; then all ranks sum up. Rank 0 prints
 *
 *   world 6 token 15 sum 15 hosts node1 node1 node2 node2 node3 node3
 *
 * (host of each rank in order of rank) and the status is 0 only if token and sum are what they must
 * be. A world of one, which is what separate singletons would be, says so by its number.
 */
#include <mpi.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  int rank, size, token = 0, sum = 0, length, right = 1;
  char host[MPI_MAX_PROCESSOR_NAME] = "";
  static char hosts[4096][MPI_MAX_PROCESSOR_NAME];

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Get_processor_name(host, &length);

  if (rank > 0) MPI_Recv(&token, 1, MPI_INT, rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  token += rank;
  if (size > 1) MPI_Send(&token, 1, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD);
  if (rank == 0 && size > 1) MPI_Recv(&token, 1, MPI_INT, size - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);

  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  if (size <= 4096)
    MPI_Gather(host, sizeof host, MPI_CHAR, hosts, sizeof host, MPI_CHAR, 0, MPI_COMM_WORLD);

  right = sum == size * (size - 1) / 2;
  if (rank == 0) {
    right = right && token == sum;
    printf("world %d token %d sum %d hosts", size, token, sum);
    for (int i = 0; i < size && size <= 4096; i++) printf(" %s", hosts[i]);
    putchar('\n');
    fflush(stdout);
  }
  MPI_Finalize();
  return right ? 0 : 1;
}
