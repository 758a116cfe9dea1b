/* The public C API of libsafeguard: one header per noun. */
#ifndef SAFEGUARD_SAFEGUARD_H
#define SAFEGUARD_SAFEGUARD_H

#include "safeguard/certify.h"
#include "safeguard/content.h"
#include "safeguard/guard.h"
#include "safeguard/label.h"
#include "safeguard/model.h"
#include "safeguard/policy.h"
#include "safeguard/reasoner.h"
#include "safeguard/screen.h"
#include "safeguard/status.h"
#include "safeguard/verdict.h"

#endif
