/*
 * What a file is: a stream of frames, or tensors without frames.
 */
#ifndef DS_FILE_KIND_H
#define DS_FILE_KIND_H

enum file_kind { FILE_FRAMES, FILE_SAFETENSORS, FILE_NPY };

/* By the first bytes of a regular file.  By the end of the name if they fit no kind, and for what
 * can be read only once: pipes and addresses. */
enum file_kind file_kind(const char *path);

#endif
