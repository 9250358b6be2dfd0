/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LAB_HELLO_H
#define LAB_HELLO_H

int lab_hello(const char *who);

#endif
