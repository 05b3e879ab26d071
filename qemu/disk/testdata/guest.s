# See guest_test.go for what it does and how it is assembled.
.code16
.globl _start
_start:
  cli
  xorw %ax,%ax
  movw %ax,%ds
  movw %ax,%es
  movw %ax,%ss
  movw $0x7c00,%sp
  cld
  sti
next:
  movw $0x8000,%di
  movl ctr,%eax
  movw $1024,%cx
  rep stosl
  andl slotmask,%eax
  shll $3,%eax
  addl $2048,%eax
  movl %eax,dap+8
  movb $0x80,%dl
drive:
  movw $dap,%si
  movw $0x4300,%ax
  pushw %dx
  int $0x13
  popw %dx
  jc bad
  incb %dl
  cmpb lastdrive,%dl
  jb drive
  movl ctr,%ebx
  movw $8,%cx
digit:
  roll $4,%ebx
  movb %bl,%al
  andb $15,%al
  addb $0x30,%al
  cmpb $0x39,%al
  jbe out
  addb $39,%al
out:
  outb %al,$0xe9
  loop digit
  movb $10,%al
  outb %al,$0xe9
  incl ctr
  movl pages,%ecx
  jecxz next
  cli
  lgdt gdtr
  movl %cr0,%eax
  orb $1,%al
  movl %eax,%cr0
  movw $8,%bx
  movw %bx,%fs
  andb $0xfe,%al
  movl %eax,%cr0
  sti
  movl at,%edi
page:
  movl %ecx,%fs:(%edi)
  addl $4096,%edi
  cmpl limit,%edi
  jb go
  movl $0x200000,%edi
go:
  decl %ecx
  jnz page
  movl %edi,at
  jmp next
bad:
  movb $0x58,%al
  outb %al,$0xe9
  hlt
  jmp bad
.balign 8
gdt: .quad 0, 0x00cf92000000ffff
gdtr: .word 15
  .long gdt
.org 0x1c0-0x40
dap: .byte 16,0
 .word 8, 0x8000, 0
 .quad 0
at: .long 0x200000
.org 0x1a0
ctr: .long 1
slotmask: .long 0xfff
pages: .long 0
limit: .long 0
lastdrive: .byte 0x81
.org 0x1fe
.word 0xaa55
