"""The same workload in fewer bits: conversion with made-up scales."""
