/* A file as part of the program: SG_INCBIN(name, "path") defines the bytes name_start … name_end. */
#ifndef SG_SCREEN_INCBIN_H
#define SG_SCREEN_INCBIN_H

#define SG_INCBIN(name, path)                                                                                        \
    __asm__(".section .rodata, \"a\"\n.balign 16\n.global " #name "_start\n" #name "_start:\n.incbin \"" path        \
            "\"\n.global " #name "_end\n" #name "_end:\n.byte 0\n.text\n");                                          \
    extern const unsigned char name##_start[], name##_end[]

#endif
